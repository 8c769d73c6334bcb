//go:build linux || darwin

package pool_test

import (
	"runtime"
	"testing"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

func TestReleaseTwiceIsHarmless(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	co := checkout(t, p)
	co.Release()
	next := checkout(t, p)
	co.Release()
	_, err := pid.Call(limited(t), co)
	is(t, err, pool.ErrClosed)
	co.Abort(nil)
	equal(t, "the worker of the next checkout", must[int](t)(pid.Call(limited(t), next)), co.Pid())
	equal(t, "idle workers", p.Stat().Idle, 0)
}

func TestReleaseDuringACallEndsIt(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, sharedServer(t), pool.Config{Wire: kind, MaxWorkers: 1})
		ctx, g, co := limited(t), newGate(t), checkout(t, p)
		running, queued := hang.Go(ctx, co, g.path, "asleep"), pid.Go(ctx, co)
		qctx, waits := queuing(ctx)
		blocked := background(func() (int, error) { return pid.Call(qctx, co) })
		recv(t, waits)
		h := g.next(t)
		co.Release()
		co.Release()
		_, err := running.Wait()
		equal(t, "the running call", err, pool.ErrClosed)
		_, err = queued.Wait()
		is(t, err, pool.ErrClosed)
		is(t, recv(t, blocked).err, pool.ErrClosed)
		_, err = pid.Call(ctx, co)
		is(t, err, pool.ErrClosed)
		h.gone(t)
		must[int](t)(pid.Call(ctx, p))
		equal(t, "workers ended for it", p.Stat().Ends["released during a call"], 1)
	})
}

func TestLostCheckoutIsFoundAndItsWorkerReclaimed(t *testing.T) {
	t.Parallel()
	logs := newRecords()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1, Logger: logs})
	ctx := limited(t)
	lose := func() int {
		co, err := p.Checkout(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return must[int](t)(pid.Call(ctx, co))
	}
	for range 2 {
		lost := lose()
		qctx, waits := queuing(ctx)
		next := background(func() (int, error) { return pid.Call(qctx, p) })
		recv(t, waits)
		var got result[int]
		until(t, "the next one gets a worker", func() bool {
			runtime.GC()
			select {
			case got = <-next:
				return true
			default:
				return false
			}
		})
		if got.err != nil || got.val == lost {
			t.Errorf("after worker %d was lost: %v", lost, got)
		}
	}
	equal(t, "workers ended for it", p.Stat().Ends["checkout lost"], 2)
	equal(t, "it is logged", logs.has("dropped without Release"), true)

	// One whose call runs is not lost before its end.
	g := newGate(t)
	call := func() *wire.Pending[int] {
		co, err := p.Checkout(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return hold.Go(ctx, co, g.path)
	}()
	h := g.next(t)
	for range 3 {
		runtime.GC()
	}
	h.open()
	must[int](t)(call.Wait())
	until(t, "it is lost after its call", func() bool {
		runtime.GC()
		return p.Stat().Ends["checkout lost"] == 3
	})

	// A checkout that was released, or whose pool was closed, is not lost.
	func() {
		co, err := p.Checkout(ctx)
		if err != nil {
			t.Fatal(err)
		}
		co.Release()
		p.Checkout(ctx)
	}()
	p.Close()
	for range 3 {
		runtime.GC()
	}
	equal(t, "workers lost", p.Stat().Ends["checkout lost"], 3)
}
