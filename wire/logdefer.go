package wire

import (
	"fmt"
	"math"
	"time"
)

// LogDefer holds what a handler logged during one call. It travels in a reply's meta under "ld", in the format of
// Perl's Log::Defer: {"start": EPOCH, "logs": [[SECONDS, LEVEL, MESSAGE, DATA]...], "timers": [[NAME, FROM, TO]...]},
// all seconds counted from start.
type LogDefer struct {
	Start  float64 // seconds since 1970
	Logs   []LogRecord
	Timers []LogTimer
}

// LogRecord is one record. Data is nil or what was logged with the message, a map[string]any from our own workers.
type LogRecord struct {
	Offset  float64 // seconds since LogDefer.Start
	Level   int     // see the Log… constants; lower is more severe
	Message string
	Data    any // what was logged with it; a []any if that was more than one thing
}

// LogTimer is a time span that a handler measured, in seconds since LogDefer.Start. To is 0 if it never ended.
type LogTimer struct {
	Name     string
	From, To float64
}

// Log::Defer's levels, and ours for trace.
const (
	LogError = 10
	LogWarn  = 20
	LogInfo  = 30
	LogDebug = 40
	LogTrace = 50
)

// Keys of a meta. MetaLog is that of the log records in a reply's, MetaUser that of Call.Meta in a call's. MetaCost stands
// in a call's with true, if its client wants the call measured, and in its reply's with what was measured.
const (
	MetaLog  = "ld"
	MetaUser = "bp"
	MetaCost = "cost"
)

// Time returns when the record was made.
func (l *LogDefer) Time(r LogRecord) time.Time {
	sec, frac := math.Modf(l.Start + r.Offset)
	return time.Unix(int64(sec), int64(frac*1e9))
}

// Value returns l in the form in which both codecs carry it.
func (l *LogDefer) Value() map[string]any {
	v := map[string]any{"start": l.Start}
	if len(l.Logs) > 0 {
		logs := make([]any, len(l.Logs))
		for i, r := range l.Logs {
			rec := []any{r.Offset, r.Level, r.Message}
			if r.Data != nil {
				rec = append(rec, r.Data)
			}
			logs[i] = rec
		}
		v["logs"] = logs
	}
	if len(l.Timers) > 0 {
		timers := make([]any, len(l.Timers))
		for i, t := range l.Timers {
			rec := []any{t.Name, t.From}
			if t.To != 0 {
				rec = append(rec, t.To)
			}
			timers[i] = rec
		}
		v["timers"] = timers
	}
	return v
}

// ParseLogDefer reads what a reply's meta has under "ld". The peer may be any Log::Defer, so what is not
// understood is an error, never a panic.
func ParseLogDefer(v any) (*LogDefer, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("log records: %T instead of a map", v)
	}
	l := &LogDefer{}
	l.Start, _ = number(m["start"])
	logs, _ := m["logs"].([]any)
	for i, e := range logs {
		r, err := parseLogRecord(e)
		if err != nil {
			return nil, fmt.Errorf("log record %d: %w", i, err)
		}
		l.Logs = append(l.Logs, r)
	}
	timers, _ := m["timers"].([]any)
	for i, e := range timers {
		f, _ := e.([]any)
		if len(f) < 2 {
			return nil, fmt.Errorf("timer %d is not [NAME, FROM, TO]", i)
		}
		t := LogTimer{Name: fmt.Sprint(f[0])}
		t.From, _ = number(f[1])
		if len(f) > 2 {
			t.To, _ = number(f[2])
		}
		l.Timers = append(l.Timers, t)
	}
	return l, nil
}

func parseLogRecord(e any) (LogRecord, error) {
	f, _ := e.([]any)
	if len(f) < 3 {
		return LogRecord{}, fmt.Errorf("not [SECONDS, LEVEL, MESSAGE, DATA]")
	}
	at, ok1 := number(f[0])
	level, ok2 := number(f[1])
	if !ok1 || !ok2 {
		return LogRecord{}, fmt.Errorf("time or level is not a number")
	}
	r := LogRecord{Offset: at, Level: int(level), Message: fmt.Sprint(f[2])}
	switch {
	case len(f) > 4: // Log::Defer takes any number of things
		r.Data = append([]any(nil), f[3:]...)
	case len(f) == 4:
		r.Data = f[3]
	}
	return r, nil
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case int:
		return float64(v), true
	}
	return 0, false
}
