//go:build linux || darwin

package pool_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// TestServerThatComesLater has one call time out while no server is there, and another keep its place until there is.
func TestServerThatComesLater(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		path := shortDir(t) + "/later"
		p := newPool(t, pool.Unix(path), pool.Config{Wire: kind, MinWorkers: 1, MaxWorkers: 2})
		ctx := limited(t)
		stays := pid.Go(ctx, p)
		_, err := pid.Call(ctx, p.With(pool.CheckoutConfig{Timeout: 300 * time.Millisecond}))
		is(t, err, context.DeadlineExceeded)
		is(t, err, os.ErrNotExist) // why there was no worker
		if e := as[*pool.TimeoutError](t, err); e.Ran != 0 || e.Waited < 300*time.Millisecond || !wire.SafeToRetry(err) {
			t.Errorf("%+v", e)
		}
		sctx, stop := context.WithCancel(ctx)
		served := background(func() (wire.None, error) {
			return wire.None{}, server.ListenAndServe(sctx, "unix", path, plain)
		})
		must[int](t)(stays.Wait())
		co := checkout(t, p)
		if kind == wire.Binary { // the server can be asked how its worker ended
			_, err := exit.Call(ctx, co, 7, "last words")
			died := as[*pool.WorkerDiedError](t, err)
			equal(t, "the exit code", died.Exit.Code, 7)
			equal(t, "stderr", died.Exit.Stderr(), "last words")
		}
		co.Release()
		p.Close()
		stop()
		if r := recv(t, served); r.err != nil {
			t.Error(r.err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket's file is left: %v", err)
		}
	})
}

// TestDeadWorkerOfAnotherServerIsNoticed kills a worker that nobody tells the pool of. After a second of idleness the
// pool looks before it uses one.
func TestDeadWorkerOfAnotherServerIsNoticed(t *testing.T) {
	t.Parallel()
	path := shortDir(t) + "/s"
	start(t, plain, forkserver.Config{Listen: []string{path}})
	for name, d := range map[string]pool.Dialer{"unix": pool.Unix(path), "spread": pool.Spread(pool.Unix(path))} {
		p := newPool(t, d, pool.Config{MaxWorkers: 1})
		co := checkout(t, p)
		h := newGate(t)
		call := hold.Go(limited(t), co, h.path)
		there := h.next(t)
		there.open()
		must[int](t)(call.Wait())
		co.Release()
		syscall.Kill(there.pid, syscall.SIGKILL)
		time.Sleep(1100 * time.Millisecond) // until it looks idle
		if got := must[int](t)(pid.Call(limited(t), checkout(t, p))); got == there.pid {
			t.Errorf("%s: worker %d is dead", name, got)
		}
		equal(t, name+": workers died", p.Stat().Ends["died"], 1)
	}
}

func TestServerOnATCPAddress(t *testing.T) {
	t.Parallel()
	srv := start(t, plain, forkserver.Config{Listen: []string{"tcp:127.0.0.1:0"}})
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, pool.TCP(srv.Addrs()[0].String(), nil), pool.Config{Wire: kind, MaxWorkers: 2})
		got := must[string](t)(echoText.Call(limited(t), p, unicodeText))
		equal(t, "the echo", got, unicodeText)
		must[[]byte](t)(echoBytes.Call(limited(t), p, make([]byte, 1<<20)))
		_, err := exit.Call(limited(t), p, 3, "")
		as[*pool.WorkerDiedError](t, err)
		must[int](t)(pid.Call(limited(t), p))
	})
}

func TestSpreadUsesAllServersAndLivesOnWithOne(t *testing.T) {
	t.Parallel()
	one, two := start(t, plain, forkserver.Config{}), start(t, plain, forkserver.Config{})
	p := newPool(t, pool.Spread(one, two), pool.Config{MaxWorkers: 4})
	ctx := limited(t)
	// parents checks out four workers and counts those of each server.
	parents := func() map[int]int {
		t.Helper()
		n := map[int]int{}
		for range 4 {
			co := checkout(t, p)
			defer co.Release()
			n[must[int](t)(parent.Call(ctx, co))]++
		}
		return n
	}
	if n := parents(); n[one.Pid()] != 2 || n[two.Pid()] != 2 {
		t.Errorf("workers of each server: %v", n)
	}
	one.Close()
	if n := parents(); n[two.Pid()] != 4 {
		t.Errorf("workers of each server after one was closed: %v", n)
	}
	two.Close()
	_, err := pid.Call(ctx, p)
	is(t, err, pool.ErrServerGone)
	_, err = pid.Call(ctx, newPool(t, pool.Spread(), pool.Config{}))
	is(t, err, pool.ErrServerGone)
}

// TestSpreadWaitsForAServerThatMayComeBack has one server that has gone for good, and one that isn't there yet.
func TestSpreadWaitsForAServerThatMayComeBack(t *testing.T) {
	t.Parallel()
	gone, path := start(t, plain, forkserver.Config{}), shortDir(t)+"/later"
	gone.Close()
	p := newPool(t, pool.Spread(gone, pool.Unix(path)), pool.Config{MaxWorkers: 1})
	call := pid.Go(limited(t), p)
	until(t, "it was tried", func() bool { return p.Stat().Failures > 1 })
	srv := start(t, plain, forkserver.Config{Listen: []string{path}})
	worker := must[int](t)(call.Wait())
	equal(t, "the worker's server", must[int](t)(parent.Call(limited(t), p)), srv.Pid())
	equal(t, "the worker", must[int](t)(pid.Call(limited(t), p)), worker)
}

func TestErrorsNameThePool(t *testing.T) {
	t.Parallel()
	path := shortDir(t) + "/s"
	start(t, plain, forkserver.Config{Listen: []string{path}})
	p := newPool(t, pool.Unix(path), pool.Config{Name: "thumbnails", MaxWorkers: 1})
	ctx, co := limited(t), checkout(t, p)
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	_, waited := p.Checkout(short)
	_, died := exit.Call(ctx, co, 1, "")
	for _, err := range []error{waited, died} {
		if !strings.Contains(err.Error(), `pool "thumbnails"`) {
			t.Errorf("which pool? %v", err)
		}
	}
}
