package server

import (
	"fmt"
	"io"
	"log"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/wire"
)

// callLog collects the log records of one call.
type callLog struct {
	start time.Time
	keep  func(wire.LogDefer) // puts a record where it outlives the worker; may be nil

	mu     sync.Mutex // guards all below
	recs   []wire.LogRecord
	timers []*wire.LogTimer // To is 0 while one runs
	over   bool             // the call has ended
}

func newCallLog(w *worker) *callLog {
	l := &callLog{start: time.Now()}
	if w != nil {
		l.keep = w.keepLog
	}
	return l
}

func (l *callLog) logger() hclog.Logger { return &logger{sink: l.add, level: new(levelVar)} }

func (l *callLog) add(level hclog.Level, msg string, data map[string]any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	rec := wire.LogRecord{Offset: time.Since(l.start).Seconds(), Level: wireLevel(level), Message: strings.ToValidUTF8(msg, "\uFFFD")}
	if len(data) > 0 {
		rec.Data = data
	}
	l.recs = append(l.recs, rec)
	if l.keep != nil {
		l.keep(wire.LogDefer{Start: epoch(l.start), Logs: []wire.LogRecord{rec}})
	}
}

func (l *callLog) take() *wire.LogDefer {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	if len(l.recs)+len(l.timers) == 0 {
		return nil
	}
	d := &wire.LogDefer{Start: epoch(l.start), Logs: l.recs, Timers: l.stopped()}
	l.recs = nil
	return d
}

func epoch(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func wireLevel(l hclog.Level) int {
	switch l {
	case hclog.Error:
		return wire.LogError
	case hclog.Warn:
		return wire.LogWarn
	case hclog.Debug:
		return wire.LogDebug
	case hclog.Trace:
		return wire.LogTrace
	}
	return wire.LogInfo
}

// logger is an hclog.Logger whose records go to a function.
type logger struct {
	sink  func(hclog.Level, string, map[string]any)
	name  string
	with  []any
	level *levelVar
}

// levelVar is shared by a logger and what is derived from it.
type levelVar struct {
	mu sync.Mutex // guards l
	l  hclog.Level
}

func (v *levelVar) get() hclog.Level {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.l == hclog.NoLevel {
		return hclog.Trace
	}
	return v.l
}

func (v *levelVar) set(l hclog.Level) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.l = l
}

func (l *logger) Log(level hclog.Level, msg string, args ...any) {
	if level < l.level.get() || level == hclog.Off {
		return
	}
	data := fields(nil, l.with)
	data = fields(data, args)
	if l.name != "" {
		msg = l.name + ": " + msg
	}
	l.sink(level, msg, data)
}

func (l *logger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *logger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *logger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *logger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *logger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *logger) IsTrace() bool { return l.level.get() <= hclog.Trace }
func (l *logger) IsDebug() bool { return l.level.get() <= hclog.Debug }
func (l *logger) IsInfo() bool  { return l.level.get() <= hclog.Info }
func (l *logger) IsWarn() bool  { return l.level.get() <= hclog.Warn }
func (l *logger) IsError() bool { return l.level.get() <= hclog.Error }

func (l *logger) ImpliedArgs() []any { return l.with }
func (l *logger) Name() string       { return l.name }

func (l *logger) With(args ...any) hclog.Logger {
	d := *l
	d.with = append(append([]any(nil), l.with...), args...)
	return &d
}

func (l *logger) Named(name string) hclog.Logger {
	if l.name != "" {
		name = l.name + "." + name
	}
	return l.ResetNamed(name)
}

func (l *logger) ResetNamed(name string) hclog.Logger {
	d := *l
	d.name = name
	return &d
}

func (l *logger) SetLevel(level hclog.Level) { l.level.set(level) }
func (l *logger) GetLevel() hclog.Level      { return l.level.get() }

func (l *logger) StandardLogger(opts *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(opts), "", 0)
}

func (l *logger) StandardWriter(opts *hclog.StandardLoggerOptions) io.Writer {
	level := hclog.Info
	if opts != nil && opts.ForceLevel != hclog.NoLevel {
		level = opts.ForceLevel
	}
	return lineWriter(func(line string) { l.Log(level, line) })
}

// lineWriter passes each Write on as one record.
type lineWriter func(string)

func (f lineWriter) Write(p []byte) (int, error) {
	f(strings.TrimRight(string(p), "\r\n"))
	return len(p), nil
}

// fields turns hclog's alternating keys and values into a map of what both wires carry.
func fields(m map[string]any, args []any) map[string]any {
	for len(args) > 0 {
		key, val := any(hclog.MissingKey), args[0]
		if len(args) > 1 {
			key, val = args[0], args[1]
			args = args[2:]
		} else {
			args = nil
		}
		if m == nil {
			m = map[string]any{}
		}
		m[strings.ToValidUTF8(fmt.Sprint(key), "\uFFFD")] = fieldValue(val)
	}
	return m
}

func fieldValue(v any) any {
	switch v := v.(type) {
	case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return v
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) { // JSON has neither
			return v
		}
	case hclog.Format:
		if len(v) == 0 {
			return ""
		}
		return strings.ToValidUTF8(fmt.Sprintf(fmt.Sprint(v[0]), v[1:]...), "\uFFFD")
	case error:
		return strings.ToValidUTF8(v.Error(), "\uFFFD")
	}
	return strings.ToValidUTF8(fmt.Sprint(v), "\uFFFD")
}
