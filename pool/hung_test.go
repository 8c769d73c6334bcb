//go:build linux || darwin

package pool_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func TestHungWorkerIsEndedFromOutside(t *testing.T) {
	t.Parallel()
	srv := start(t, plain, forkserver.Config{Limits: server.Limits{HungTimeout: 200 * time.Millisecond}})
	for _, how := range []string{"busy", "asleep", "stopped", "raw"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, srv, pool.Config{MaxWorkers: 1})
			g, co := newGate(t), checkout(t, p)
			_, err := hang.Call(limited(t), co, g.path, how)
			died := as[*pool.WorkerDiedError](t, err)
			equal(t, "the reason", died.Exit.Reason, wire.ExitHung)
			equal(t, "the pid", died.Pid, co.Pid())
			if !strings.Contains(err.Error(), `"hang" ran longer than HungTimeout (200ms)`) {
				t.Errorf("the error says only %q", err)
			}
			if how == "stopped" && len(died.Exit.Dump) != 0 {
				t.Errorf("a stopped process has left a dump: %.100q", died.Exit.Dump)
			}
			_, again := pid.Call(limited(t), co)
			equal(t, "a later call", again, err)
			_, err = hang.Call(limited(t), p, g.path, how)
			equal(t, "the reason in a pool's call", as[*pool.WorkerDiedError](t, err).Exit.Reason, wire.ExitHung)
			equal(t, "workers died", p.Stat().Ends["died"], 2)
			until(t, "the pool works on", func() bool { // a machine as busy as that makes any call seem hung
				_, err := pid.Call(limited(t), p)
				return err == nil
			})
		})
	}
}

// TestHungWorkerLeavesAGoroutineDump gives the worker more time for it than the other tests do.
func TestHungWorkerLeavesAGoroutineDump(t *testing.T) {
	t.Parallel()
	srv := start(t, plain, forkserver.Config{Limits: server.Limits{HungTimeout: 2 * time.Second}})
	for _, how := range []string{"busy", "asleep"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			_, err := hang.Call(limited(t), newPool(t, srv, pool.Config{}), newGate(t).path, how)
			e := as[*pool.WorkerDiedError](t, err).Exit
			equal(t, "the reason", e.Reason, wire.ExitHung)
			for _, text := range []string{"SIGQUIT", "goroutine ", "service_test.go"} {
				if !strings.Contains(string(e.Dump), text) {
					t.Errorf("there is no %q in the dump %q", text, e.Dump)
				}
			}
		})
	}
}

// TestBusyWorkersAreNotHung makes calls that are longer together than HungTimeout.
func TestBusyWorkersAreNotHung(t *testing.T) {
	t.Parallel()
	srv := start(t, plain, forkserver.Config{Limits: server.Limits{HungTimeout: time.Second}})
	co := checkout(t, newPool(t, srv, pool.Config{}))
	for range 15 {
		must[wire.None](t)(nap.Call(limited(t), co, 100*time.Millisecond))
	}
}
