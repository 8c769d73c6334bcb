// Package poolslog leads what bullpen logs into log/slog:
//
//	srv, err := forkserver.Start(ctx, passwords, forkserver.Config{Logger: poolslog.New(slog.Default())})
//
// A pool of that server logs there too, unless pool.Config.Logger says otherwise.
package poolslog

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/hashicorp/go-hclog"
)

// LevelTrace is what hclog's level trace becomes: as far below slog.LevelDebug as that is below slog.LevelInfo.
const LevelTrace = slog.LevelDebug - 4

// New returns a logger whose records go to l: those that l's handler is enabled for. Fields become attributes, and a
// logger's name the attribute "logger". A record that a worker's handler has made keeps the time at which it was made. A nil
// l is slog.Default(), as it is now.
func New(l *slog.Logger) hclog.Logger {
	if l == nil {
		l = slog.Default()
	}
	i := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Off}) // only the sink prints
	i.RegisterSink(sink{l.Handler()})
	return i
}

type sink struct{ to slog.Handler }

// Accept implements hclog.SinkAdapter.
func (s sink) Accept(name string, level hclog.Level, msg string, args ...any) {
	ctx := context.Background()
	l := slogLevel(level)
	if level == hclog.Off || !s.to.Enabled(ctx, l) {
		return
	}
	r := slog.NewRecord(time.Now(), l, msg, 0)
	if name != "" {
		r.AddAttrs(slog.String("logger", name))
	}
	for ; len(args) > 1; args = args[2:] {
		key, val := fmt.Sprint(args[0]), args[1]
		made, isTime := val.(time.Time)
		f, isFormat := val.(hclog.Format)
		switch {
		case isTime && key == "timestamp":
			r.Time = made
			continue
		case isFormat && len(f) > 0:
			val = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
		r.AddAttrs(slog.Any(key, val))
	}
	if len(args) == 1 {
		r.AddAttrs(slog.Any(hclog.MissingKey, args[0]))
	}
	s.to.Handle(ctx, r)
}

func slogLevel(l hclog.Level) slog.Level {
	switch l {
	case hclog.Trace:
		return LevelTrace
	case hclog.Debug:
		return slog.LevelDebug
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Error:
		return slog.LevelError
	}
	return slog.LevelInfo
}
