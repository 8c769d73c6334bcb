//go:build linux

package forkserver_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

var (
	otherService = server.NewService("other", server.Hooks{})
	otherName    = server.Handle0(otherService, "name", func(context.Context) (string, error) { return "other", nil })
)

// nesting is a service whose workers have forkservers of their own.
var (
	nesting = server.NewService("nesting", server.Hooks{})

	nested struct {
		once sync.Once
		pool *pool.Pool
		held *pool.Checkout
		err  error
	}

	// inner has a worker of the worker's own server say its pid.
	inner = server.Handle(nesting, "inner", func(ctx context.Context, _ string) (int, error) {
		nested.once.Do(func() {
			srv, err := forkserver.Start(ctx, basic, forkserver.Config{})
			if err != nil {
				nested.err = err
				return
			}
			if nested.pool, nested.err = pool.New(srv, pool.Config{MinWorkers: -1}); nested.err == nil {
				nested.held, nested.err = nested.pool.Checkout(ctx)
			}
		})
		if nested.err != nil {
			return 0, nested.err
		}
		return getpid.Call(ctx, nested.held)
	})

	innerThreads = server.Handle(nesting, "threads", func(_ context.Context, n int) (wire.None, error) {
		endThreads(n)
		return wire.None{}, nil
	})

	innerError = server.Handle0(nesting, "error", func(ctx context.Context) (wire.None, error) {
		_, err := die.Call(ctx, nested.held, "exit 3")
		return wire.None{}, err
	})
)

func TestSeveralServices(t *testing.T) {
	t.Parallel()
	first, second := newPool(t, start(t, basic, forkserver.Config{}), poolConfig), newPool(t, start(t, otherService, forkserver.Config{}), poolConfig)
	if got := must(echo.Call(proctest.Limited(t), first, "basic"))(t); got != "basic" {
		t.Errorf("%q", got)
	}
	if got := must(otherName.Call(proctest.Limited(t), second))(t); got != "other" {
		t.Errorf("%q", got)
	}
	var remote *wire.RemoteError
	if _, err := otherName.Call(proctest.Limited(t), first); !errors.As(err, &remote) || remote.Code != server.CodeNoMethod {
		t.Errorf("a method of the other service: %v", err)
	}
}

func TestSeveralStartsAtOnce(t *testing.T) {
	t.Parallel()
	const n = 5
	var all sync.WaitGroup
	var mu sync.Mutex
	pids := map[int]bool{}
	for range n {
		all.Go(func() {
			srv, err := forkserver.Start(context.Background(), basic, forkserver.Config{})
			if err != nil {
				t.Error(err)
				return
			}
			defer srv.Close()
			p, err := pool.New(srv, poolConfig)
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Close()
			pid, err := getpid.Call(proctest.Limited(t), p)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			pids[srv.Pid()], pids[pid] = true, true
		})
	}
	all.Wait()
	if len(pids) != 2*n || pids[os.Getpid()] {
		t.Errorf("%v", pids)
	}
}

// One Process for several pools.
func TestSeveralPools(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	first, second := newPool(t, tr, poolConfig), newPool(t, tr, poolConfig)
	one, two := must(getpid.Call(proctest.Limited(t), first))(t), must(getpid.Call(proctest.Limited(t), second))(t)
	if one == two {
		t.Error("they share a worker")
	}
	first.Close()
	if got := must(getpid.Call(proctest.Limited(t), second))(t); got != two {
		t.Errorf("worker %d instead of %d after the other pool was closed", got, two)
	}
}

func TestWorkerStartsAForkserver(t *testing.T) {
	t.Parallel()
	tr := start(t, nesting, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	pid := must(inner.Call(proctest.Limited(t), co, "own"))(t)
	if pid == co.Pid() || !proctest.Alive(pid) || proctest.Title(pid) != "bullpen worker: basic(1)" {
		t.Errorf("process %d, title %q", pid, proctest.Title(pid))
	}
	var remote *wire.RemoteError
	if _, err := innerError.Call(proctest.Limited(t), co); !errors.As(err, &remote) || remote.Type != "*pool.WorkerDiedError" {
		t.Errorf("the inner worker's death arrives as %v", err)
	}
	if n := len(proctest.InTree(tr.mark)); n < 3 {
		t.Errorf("%d processes in the tree", n)
	}
}

// The inner tree ends with the worker that it belongs to, however that ends.
func TestInnerTreeEndsWithItsWorker(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"released", "killed", "server killed"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			tr := start(t, nesting, forkserver.Config{})
			p := newPool(t, tr, pool.Config{MinWorkers: -1, MaxCheckouts: 1})
			co := checkout(t, p)
			pid := must(inner.Call(proctest.Limited(t), co, "own"))(t)
			switch how {
			case "released":
				co.Release()
			case "killed":
				kill(co.Pid(), syscall.SIGKILL)
			case "server killed":
				kill(tr.Pid(), syscall.SIGKILL)
			}
			proctest.Ends(t, pid, patience)
			proctest.Ends(t, co.Pid(), patience)
		})
	}
}
