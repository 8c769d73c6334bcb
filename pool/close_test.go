//go:build linux || darwin

package pool_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/leaktest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

func TestCloseEndsEverythingNow(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, sharedServer(t), pool.Config{Wire: kind, MaxWorkers: 4})
		ctx, g := limited(t), newGate(t)
		idle, held := checkout(t, p), checkout(t, p)
		idle.Release()
		running := hang.Go(ctx, p, g.path, "busy") // on the worker that was idle
		busy := g.next(t)
		own := checkout(t, p)
		queued := []*wire.Pending[int]{hold.Go(ctx, own, g.path), pid.Go(ctx, own)}
		polite := g.next(t)
		checkout(t, p)
		qctx, waits := queuing(ctx)
		waiting := background(func() (*pool.Checkout, error) { return p.Checkout(qctx) })
		recv(t, waits)

		if err := p.Close(); err != nil {
			t.Error(err)
		}
		_, err := running.Wait()
		is(t, err, pool.ErrClosed)
		for _, call := range queued {
			_, err := call.Wait()
			is(t, err, pool.ErrClosed)
		}
		is(t, recv(t, waiting).err, pool.ErrClosed)
		busy.gone(t)
		polite.gone(t)
		for _, c := range []wire.Caller{p, held, own} {
			_, err := pid.Call(ctx, c)
			is(t, err, pool.ErrClosed)
			_, err = pid.Go(ctx, c).Wait()
			is(t, err, pool.ErrClosed)
		}
		_, err = p.Checkout(ctx)
		is(t, err, pool.ErrClosed)
		held.Release()
		own.Release()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := p.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		s := p.Stat()
		if s.Idle != 0 || s.Waiting != 0 || s.Connecting != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestCloseDoesNotWaitForAServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	p := newPool(t, pool.Unix(shortDir(t)+"/nobody"), pool.Config{MinWorkers: 2})
	waiting := background(func() (*pool.Checkout, error) { return p.Checkout(limited(t)) })
	until(t, "somebody waits", func() bool { return p.Stat().Waiting == 1 })
	p.Close()
	is(t, recv(t, waiting).err, pool.ErrClosed)
}

func TestShutdownLetsRunAndWaitingCallsFinish(t *testing.T) {
	t.Parallel()
	srv, _ := startHooked(t, forkserver.Config{})
	for name, p := range map[string]*pool.Pool{"plain": newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1}),
		"hooked": newPool(t, srv, pool.Config{MaxWorkers: 1})} {
		t.Run(name, func(t *testing.T) {
			ctx, co := limited(t), checkout(t, p)
			waiting := background(func() (int, error) {
				var pid int
				err := p.Call(ctx, &pid, "pid")
				return pid, err
			})
			until(t, "somebody waits", func() bool { return p.Stat().Waiting == 1 })
			sctx, waits := queuing(ctx)
			done := background(func() (wire.None, error) { return wire.None{}, p.Shutdown(sctx) })
			recv(t, waits)
			_, err := p.Checkout(ctx)
			is(t, err, pool.ErrClosed)
			var out int
			if err := co.Call(ctx, &out, "pid"); err != nil {
				t.Errorf("a call on a checkout that is out: %v", err)
			}
			select {
			case <-done:
				t.Error("Shutdown did not wait")
			default:
			}
			co.Release()
			r := recv(t, waiting)
			equal(t, "who waited", must[int](t)(r.val, r.err), out)
			if err := recv(t, done).err; err != nil {
				t.Error(err)
			}
			equal(t, "workers", p.Stat().Total, 0)
		})
	}
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	g := newGate(t)
	call := hold.Go(limited(t), p, g.path)
	g.next(t)
	ctx, cancel := context.WithCancelCause(limited(t))
	why := errors.New("no more time")
	cancel(why)
	is(t, p.Shutdown(ctx), why)
	_, err := call.Wait()
	is(t, err, pool.ErrClosed)
}

// TestShutdownEndsWhenTheLastOneGivesUp has nobody but a waiter whose time is over.
func TestShutdownEndsWhenTheLastOneGivesUp(t *testing.T) {
	t.Parallel()
	p := newPool(t, pool.Unix(shortDir(t)+"/nobody"), pool.Config{})
	ctx, cancel := context.WithCancel(limited(t))
	waiting := background(func() (*pool.Checkout, error) { return p.Checkout(ctx) })
	until(t, "somebody waits", func() bool { return p.Stat().Waiting == 1 })
	sctx, waits := queuing(limited(t))
	done := background(func() (wire.None, error) { return wire.None{}, p.Shutdown(sctx) })
	recv(t, waits)
	cancel()
	is(t, recv(t, waiting).err, context.Canceled)
	if err := recv(t, done).err; err != nil {
		t.Error(err)
	}
}

// TestServerThatIsClosedEndsAllWaits closes the server while a checkout does nothing, and others wait.
func TestServerThatIsClosedEndsAllWaits(t *testing.T) {
	t.Parallel()
	srv := start(t, plain, forkserver.Config{})
	p := newPool(t, srv, pool.Config{MaxWorkers: 2})
	ctx, g, co := limited(t), newGate(t), checkout(t, p)
	running := hang.Go(ctx, p, g.path, "asleep")
	g.next(t)
	waiting := []*wire.Pending[int]{pid.Go(ctx, p), pid.Go(ctx, p), pid.Go(ctx, p)}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	for _, w := range waiting {
		_, err := w.Wait()
		is(t, err, pool.ErrServerGone)
	}
	_, err := running.Wait()
	equal(t, "the reason", as[*pool.WorkerDiedError](t, err).Exit.Reason, wire.ExitShutdown)
	_, err = pid.Call(ctx, co)
	as[*pool.WorkerDiedError](t, err)
	for range 2 {
		_, err = p.Checkout(ctx)
		is(t, err, pool.ErrServerGone)
	}
	equal(t, "the last error is kept", errors.Is(p.Stat().LastError, pool.ErrServerGone), true)
}

// TestServerThatIsClosedWhileWorkersStart is a close in the middle of their setup.
func TestServerThatIsClosedWhileWorkersStart(t *testing.T) {
	t.Parallel()
	srv, d := startHooked(t, forkserver.Config{})
	write(t, d.SetupFails, "never return")
	p := newPool(t, srv, pool.Config{MaxWorkers: 2})
	calls := []*wire.Pending[int]{hookedPid.Go(limited(t), p), hookedPid.Go(limited(t), p), hookedPid.Go(limited(t), p)}
	until(t, "setup runs", func() bool { return countLines(d.SetupLog) > 0 })
	srv.Close()
	for _, c := range calls {
		_, err := c.Wait()
		is(t, err, pool.ErrServerGone)
	}
}

func TestEitherOrderOfClosing(t *testing.T) {
	for _, poolFirst := range []bool{true, false} {
		leaktest.Check(t)
		srv, d := startHooked(t, forkserver.Config{})
		p := newPool(t, srv, pool.Config{MinWorkers: 2})
		co := checkout(t, p)
		must[int](t)(hookedPid.Call(limited(t), co))
		until(t, "two workers are set up", func() bool { return p.Stat().Total == 2 && countLines(d.SetupLog) == 2 })
		first, second := p.Close, srv.Close
		if !poolFirst {
			first, second = second, first
		}
		if err := errors.Join(first(), second()); err != nil {
			t.Error(err)
		}
		co.Release()
		before := p.Stat().Failures
		time.Sleep(300 * time.Millisecond) // longer than the pool's pause between two tries
		equal(t, "tries to connect after the end", p.Stat().Failures, before)
	}
}
