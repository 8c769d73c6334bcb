// Package echo is the bullpen service that the yardstick measures. It is linked by every program of this module that
// bullpen starts workers from.
package echo

import (
	"context"
	"runtime"
	"time"

	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"

	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/pauses"
)

// Service echoes.
var Service = server.NewService("yardstick", server.Hooks{})

var (
	// String returns its argument.
	String = server.Handle(Service, "echo", func(_ context.Context, s string) (string, error) { return s, nil })
	// Busy takes some processor time, and returns its argument.
	Busy = server.Handle2(Service, "busy", func(_ context.Context, s string, d time.Duration) (string, error) {
		for begin := time.Now(); time.Since(begin) < d; {
		}
		return s, nil
	})
	// Bytes returns its argument.
	Bytes = server.Handle(Service, "echo bytes", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	// Mallocs returns how many objects the worker has allocated so far.
	Mallocs = server.Handle0(Service, "mallocs", func(context.Context) (uint64, error) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.Mallocs, nil
	})
	// BeginPauses starts a probe of package pauses in the worker.
	BeginPauses = server.Handle0(Service, "begin pauses", func(context.Context) (wire.None, error) {
		pauses.Begin()
		return wire.None{}, nil
	})
	// EndPauses ends it, and returns what it has seen.
	EndPauses = server.Handle0(Service, "end pauses", func(context.Context) (pauses.Report, error) {
		return pauses.End(), nil
	})
)
