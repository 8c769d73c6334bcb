//go:build linux || darwin

package pool_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// shortLived is a service whose workers set up well, and die before anybody calls, as long as the file is there.
var shortLived = server.NewService("short-lived", server.Hooks{Setup: func(ctx context.Context) error {
	file, err := server.SetupData[string](ctx)
	if err != nil {
		return err
	}
	if _, err := os.Stat(file); err == nil {
		time.AfterFunc(time.Millisecond, func() {
			os.Stderr.WriteString("the library is broken\n")
			os.Exit(7)
		})
	}
	return nil
}})

var shortLivedPid = server.Handle0(shortLived, "pid", func(context.Context) (int, error) { return os.Getpid(), nil })

// TestCrashLoopIsSlowed has workers die idle: each one that comes after waits longer, and why is told.
func TestCrashLoopIsSlowed(t *testing.T) {
	t.Parallel()
	file := tempFile(t, "broken")
	write(t, file, "")
	ev := newEvents()
	srv := start(t, shortLived, forkserver.Config{SetupData: file, OnEvent: ev.on})
	logs := newRecords()
	p := newPool(t, srv, pool.Config{MinWorkers: 1, MaxWorkers: 4, Logger: logs})
	var starts []time.Time
	for _, e := range ev.wait(t, server.WorkerStarted, 5) {
		if e.Type == server.WorkerStarted {
			starts = append(starts, e.Time)
		}
	}
	// Pauses of 0.2, 0.4, 0.8 and 1 s; a tenth is left for how clocks are read.
	if took := starts[4].Sub(starts[0]); took < 2160*time.Millisecond {
		t.Errorf("five workers were started within %v", took)
	}
	s := p.Stat()
	var died *pool.WorkerDiedError
	if !errors.As(s.LastError, &died) || died.Exit.Code != 7 || s.Failures < 4 {
		t.Errorf("%+v", s)
	}
	if !logs.has("the library is broken") {
		t.Error("the log doesn't say why")
	}
	os.Remove(file)
	for { // a worker that was started before may die yet
		_, err := shortLivedPid.Call(limited(t), p)
		if err == nil {
			break
		}
		as[*pool.WorkerDiedError](t, err)
	}
}

// TestCrashLoopTellsWhoWaits has nobody get a worker: each is told the last cause, at once or at the end of the wait.
func TestCrashLoopTellsWhoWaits(t *testing.T) {
	t.Parallel()
	srv, d := startHooked(t, forkserver.Config{})
	write(t, d.SetupFails, "exit")
	p := newPool(t, srv, pool.Config{MaxWorkers: 4})
	var calls []*wire.Pending[int]
	view := p.With(pool.CheckoutConfig{Timeout: 5 * time.Second})
	for range 20 {
		calls = append(calls, hookedPid.Go(limited(t), view))
	}
	atOnce, late := 0, 0
	for _, c := range calls {
		_, err := c.Wait()
		equal(t, "the cause's exit code", as[*pool.WorkerDiedError](t, err).Exit.Code, 5)
		equal(t, "safe to retry", wire.SafeToRetry(err), true)
		if !strings.Contains(err.Error(), "exit code 5") {
			t.Errorf("the error says only %q", err)
		}
		var timeout *pool.TimeoutError
		if errors.As(err, &timeout) {
			late++
		} else {
			atOnce++
		}
	}
	if atOnce == 0 || late == 0 {
		t.Errorf("%d were told at once, %d at the end of their wait", atOnce, late)
	}
	if n := p.Stat().Failures; n > 12 { // four at first, then one at a time, at last one a second
		t.Errorf("%d workers were tried", n)
	}
}
