//go:build linux

package forkserver_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// load makes calls until it is stopped, and counts those that fail.
func load(p *pool.Pool, callers int) (stop func() (calls int64, errs []error)) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	var calls atomic.Int64
	quit := make(chan struct{})
	for range callers {
		wg.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
				}
				calls.Add(1)
				if _, err := getpid.Call(context.Background(), p); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	return func() (int64, []error) {
		close(quit)
		wg.Wait()
		return calls.Load(), errs
	}
}

func TestRestartFailsNoCall(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, pool.Config{MaxWorkers: 4})
	stop := load(p, 8)
	restarts := 30
	if testing.Short() {
		restarts = 5
	}
	for i := range restarts {
		before := tr.Pid()
		if err := tr.Restart(proctest.Limited(t)); err != nil {
			t.Fatalf("restart %d: %v", i, err)
		}
		if now := tr.Pid(); now == before || now == 0 {
			t.Fatalf("the server's pid is %d, and was %d", now, before)
		}
		if _, err := getpid.Call(proctest.Limited(t), p); err != nil {
			t.Fatalf("after restart %d: %v", i, err)
		}
	}
	calls, errs := stop()
	if calls == 0 || len(errs) > 0 {
		t.Errorf("%d calls, %d failed: %v", calls, len(errs), errs)
	}
}

func TestRestartWaitsForCheckouts(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	old := tr.Pid()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tr.Restart(ctx) }()
	tr.events.Wait(t, "the new server", func(e server.Event) bool { return e.Type == server.ServerStarted && e.Pid != old })
	if pid, err := getpid.Call(proctest.Limited(t), co); err != nil || pid != co.Pid() {
		t.Errorf("on the old server: %d, %v", pid, err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Restart: %v", err)
	}
	if _, err := getpid.Call(proctest.Limited(t), co); err != nil {
		t.Errorf("after Restart has lost its patience: %v", err)
	}
	co.Release()
	proctest.Ends(t, old, patience)
}

func TestServerIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, pool.Config{MaxWorkers: 4})
	stop := load(p, 8)
	for range 10 {
		pid := tr.Pid()
		syscall.Kill(pid, syscall.SIGKILL)
		tr.events.Wait(t, "another server", func(e server.Event) bool {
			return e.Type == server.ServerStarted && e.Pid > 0 && e.Pid == tr.Pid() && e.Pid != pid
		})
		for { // a call may have been under way to the old server still
			_, err := getpid.Call(proctest.Limited(t), p)
			var died *pool.WorkerDiedError
			if err == nil {
				break
			}
			if !errors.As(err, &died) {
				t.Fatal(err)
			}
		}
	}
	calls, errs := stop()
	for _, err := range errs {
		var died *pool.WorkerDiedError
		if !errors.As(err, &died) {
			t.Errorf("%v", err)
		}
	}
	t.Logf("%d calls, %d under a server's death", calls, len(errs))
}

var doomed = server.NewService("doomed", server.Hooks{Setup: func(context.Context) error {
	syscall.Kill(syscall.Getppid(), syscall.SIGKILL) // the server
	select {}
}})

// A server that dies before any worker gets ready is given up.
func TestServerIsGivenUp(t *testing.T) {
	t.Parallel()
	tr := start(t, doomed, forkserver.Config{})
	p := newPool(t, tr, pool.Config{})
	_, err := p.Checkout(proctest.Limited(t))
	if !errors.Is(err, pool.ErrServerGone) || !strings.Contains(err.Error(), "given up") {
		t.Errorf("who waits gets: %v", err)
	}
	closed(t, "Done", tr.Done())
	if err := tr.Err(); !errors.Is(err, wire.ErrServerGone) {
		t.Errorf("Err: %v", err)
	}
	if _, err := tr.Dial(context.Background()); !errors.Is(err, wire.ErrServerGone) {
		t.Errorf("Dial: %v", err)
	}
	if err := tr.Restart(proctest.Limited(t)); !errors.Is(err, wire.ErrServerGone) {
		t.Errorf("Restart: %v", err)
	}
}

// A stopped server is replaced when it is wanted.
func TestStoppedServerIsReplaced(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{StartTimeout: 2 * time.Second})
	pid := tr.Pid()
	stop(t, pid)
	p := newPool(t, tr, poolConfig)
	if _, err := getpid.Call(proctest.Limited(t), p); err != nil {
		t.Error(err)
	}
	if now := tr.Pid(); now == pid {
		t.Error("it is the same server")
	}
}
