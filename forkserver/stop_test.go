//go:build linux

package forkserver_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func TestCloseCancelsHandlers(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{CancelGrace: patience, Standby: 1}})
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	running := wait.Go(context.Background(), co)
	checkout(t, p) // one that is idle
	tr.logs.said(t, "waiting")
	begin := time.Now()
	if err := tr.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if took := time.Since(begin); took > soon {
		t.Errorf("Close took %v", took)
	}
	if _, err := running.Wait(); err == nil {
		t.Error("the call ended well")
	}
	tr.logs.said(t, "canceled") // the handler has come to its end
	e := tr.events.Wait(t, "its end", func(e server.Event) bool { return e.Type == server.WorkerEnded && e.Pid == co.Pid() })
	if e.Exit.Reason != wire.ExitShutdown || e.Exit.Code != 0 {
		t.Errorf("%+v", e.Exit)
	}
	proctest.Gone(t, tr.mark, survival)
}

func TestCloseKillsWhatIgnoresIt(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"select", "loop", "raw"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			tr := start(t, basic, forkserver.Config{})
			p := newPool(t, tr, poolConfig)
			co := checkout(t, p)
			running := block.Go(context.Background(), co, how)
			tr.logs.said(t, "blocking")
			begin := time.Now()
			if err := tr.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if took := time.Since(begin); took < 90*time.Millisecond || took > soon {
				t.Errorf("Close took %v", took)
			}
			if len(proctest.InTree(tr.mark)) > 0 {
				t.Error("Close has returned before all had ended")
			}
			if _, err := running.Wait(); err == nil {
				t.Error("the call ended well")
			}
			e := tr.events.Wait(t, "its end", func(e server.Event) bool { return e.Type == server.WorkerEnded })
			if e.Exit.Reason != wire.ExitShutdown || e.Exit.Signal != 9 {
				t.Errorf("%+v", e.Exit)
			}
		})
	}
}

func TestSecondClose(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	block.Go(context.Background(), checkout(t, p), "select")
	tr.logs.said(t, "blocking")
	var all sync.WaitGroup
	for range 3 { // the later ones wait for the first
		all.Go(func() {
			if err := tr.Close(); err != nil {
				t.Error(err)
			}
			if len(proctest.InTree(tr.mark)) > 0 {
				t.Error("Close has returned before all had ended")
			}
		})
	}
	all.Wait()
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseWhileWorkersStart(t *testing.T) {
	t.Parallel()
	for range 5 {
		tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 3}})
		p := newPool(t, tr, pool.Config{})
		for range 3 {
			getpid.Go(proctest.Limited(t), p)
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
		if left := proctest.InTree(tr.mark); len(left) > 0 {
			t.Errorf("left: %+v", left)
		}
		for _, r := range tr.logs.List() {
			if r.args["stream"] != "" {
				t.Errorf("somebody has printed: %+v", r)
			}
		}
	}
}

func TestShutdownLetsCallsFinish(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "socket")
	tr := start(t, basic, forkserver.Config{Listen: []string{socket}, Limits: server.Limits{Standby: 1}})
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	must(getpid.Call(proctest.Limited(t), p))(t) // a worker that is idle
	running := sleep.Go(context.Background(), co, 300)
	tr.logs.said(t, "sleeping")
	ended := make(chan error, 1)
	go func() { ended <- tr.Shutdown(context.Background()) }()
	proctest.Eventually(t, "idle workers end", func() bool { return p.Stat().Total == 1 })
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket file: %v", err)
	}
	if _, err := tr.Dial(context.Background()); !errors.Is(err, wire.ErrServerGone) {
		t.Errorf("Dial: %v", err)
	}
	if got, err := running.Wait(); err != nil || got != "slept" {
		t.Errorf("the call: %q, %v", got, err)
	}
	if got, err := echo.Call(proctest.Limited(t), co, "still held"); err != nil || got != "still held" {
		t.Errorf("on the checkout: %q, %v", got, err)
	}
	select {
	case err := <-ended:
		t.Fatalf("Shutdown has not waited for the checkout: %v", err)
	default:
	}
	co.Release()
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	closed(t, "Done", tr.Done())
	if err := tr.Err(); err != nil {
		t.Errorf("Err: %v", err)
	}
	proctest.Gone(t, tr.mark, survival)
}

func TestShutdownLosesItsPatience(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	running := block.Go(context.Background(), checkout(t, p), "select")
	tr.logs.said(t, "blocking")
	ctx, cancel := context.WithTimeoutCause(context.Background(), 50*time.Millisecond, errors.New("enough"))
	defer cancel()
	if err := tr.Shutdown(ctx); err == nil || err.Error() != "enough" {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := running.Wait(); err == nil {
		t.Error("the call ended well")
	}
	proctest.Gone(t, tr.mark, survival)
}

func TestPoolAndServerAreClosedInEitherOrder(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*tree, *pool.Pool) []error{
		"pool first":   func(tr *tree, p *pool.Pool) []error { return []error{p.Close(), tr.Close()} },
		"server first": func(tr *tree, p *pool.Pool) []error { return []error{tr.Close(), p.Close()} },
		"shutdown, pool": func(tr *tree, p *pool.Pool) []error {
			return []error{p.Shutdown(t.Context()), tr.Shutdown(t.Context())}
		},
		"shutdown, server": func(tr *tree, p *pool.Pool) []error {
			return []error{tr.Shutdown(t.Context()), p.Shutdown(t.Context())}
		},
		"shutdown, then both": func(tr *tree, p *pool.Pool) []error { return []error{tr.Shutdown(t.Context()), tr.Close(), p.Close()} },
	} {
		t.Run(name, func(t *testing.T) {
			tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 1}})
			p := newPool(t, tr, pool.Config{MaxWorkers: 3})
			for range 3 {
				co := checkout(t, p)
				must(getpid.Call(proctest.Limited(t), co))(t)
				co.Release()
			}
			begin := time.Now()
			for _, err := range stop(tr, p) {
				if err != nil {
					t.Error(err)
				}
			}
			if took := time.Since(begin); took > soon {
				t.Errorf("it took %v", took)
			}
			proctest.Gone(t, tr.mark, survival)
			if _, err := getpid.Call(proctest.Limited(t), p); !errors.Is(err, pool.ErrClosed) {
				t.Errorf("a call after it: %v", err)
			}
		})
	}
}

func TestNegativeCancelGraceKillsAtOnce(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{CancelGrace: -1}})
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	block.Go(context.Background(), co, "select")
	tr.logs.said(t, "blocking")
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	proctest.Gone(t, tr.mark, survival)
}
