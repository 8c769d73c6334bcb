package pool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/leaktest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

// typed reports whether err is one of those that a call on a worker that writes nonsense may end with.
func typed(err error) bool {
	var died *pool.WorkerDiedError
	var late *pool.TimeoutError
	var violation *wire.ProtocolError
	var remote *wire.RemoteError
	var codec *wire.CodecError
	return errors.As(err, &died) || errors.As(err, &late) || errors.As(err, &violation) || errors.As(err, &remote) || errors.As(err, &codec)
}

// TestLaneThatIsScribbledOver has workers write nonsense into the memory, in a call and from then on. Their own calls may
// fail, in one of the usual ways. Those on the pool's other worker may not.
func TestLaneThatIsScribbledOver(t *testing.T) {
	t.Parallel()
	for _, goOn := range []bool{false, true} {
		t.Run(fmt.Sprint("goes on ", goOn), func(t *testing.T) {
			t.Parallel()
			p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 2, SharedMemory: 32 << 10})
			var over atomic.Bool
			good := onLane(t, p)
			others := background(func() (n int, err error) {
				for ; err == nil && !over.Load(); n++ {
					text := strings.Repeat(fmt.Sprint(n), 1+n*n%5000)
					var got string
					if got, err = echoText.Call(context.Background(), good, text); err == nil && got != text {
						err = fmt.Errorf("%.50q instead of %.50q", got, text)
					}
				}
				return n, err
			})
			view, failed := p.With(pool.CheckoutConfig{Timeout: time.Second}), 0
			for seed := range uint64(20) {
				co := checkout(t, view)
				warm(t, co)
				_, err := scribble.Call(limited(t), co, seed, goOn)
				for i := 0; err == nil && i < 50; i++ {
					_, err = echoBytes.Call(limited(t), co, pattern(i*i*50))
				}
				if err != nil {
					failed++
				}
				if err != nil && !typed(err) {
					t.Errorf("seed %d: %T: %v", seed, err, err)
				}
				co.Abort(nil) // or the next checkout would get it, if it has come through
				co.Release()
			}
			over.Store(true)
			if r := recv(t, others); r.err != nil || r.val == 0 {
				t.Errorf("call %d of the other worker: %v", r.val, r.err)
			}
			equal(t, "the other worker", must[int](t)(pid.Call(limited(t), good)), good.Pid())
			if failed < 10 {
				t.Errorf("only %d of 20 workers came to grief", failed)
			}
		})
	}
}

// lanesHere counts the lanes that this process has mapped.
func lanesHere() int {
	maps, _ := os.ReadFile("/proc/self/maps")
	return strings.Count(string(maps), "bullpen-lane")
}

// TestLanesLeaveNothing ends lanes in all ways, and looks for what is left of them. It doesn't run beside others.
func TestLanesLeaveNothing(t *testing.T) {
	leaktest.Check(t)
	settle := func(want int) {
		t.Helper()
		until(t, fmt.Sprintf("%d lanes are mapped, and not %d", want, lanesHere()), func() bool {
			runtime.GC() // by which memory is given back
			return lanesHere() == want
		})
	}
	settle(0)
	srv, err := forkserver.Start(limited(t), plain, forkserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	p := newPool(t, srv, pool.Config{MaxWorkers: 2})
	for i := range 3 {
		co := onLane(t, p)
		co.Abort(nil)
		co.Release()
		co = onLane(t, p)
		noteAndExit.Call(limited(t), co, os.DevNull, "x")
		co.Release()
		co = onLane(t, p)
		scribble.Call(limited(t), co, uint64(i), true)
		size.Call(limited(t), co, make([]byte, 4<<20))
		co.Release()
		co = onLane(t, p)
		fail.Call(limited(t), co, "no")
		co.Release()
		func() {
			co, err := p.Checkout(limited(t))
			if err != nil {
				t.Fatal(err)
			}
			warm(t, co)
		}() // and forgets it
		until(t, "the lost checkout is found", func() bool {
			runtime.GC()
			return p.Stat().Ends["checkout lost"] == int64(i+1)
		})
	}
	busy, idle := onLane(t, p), onLane(t, p)
	settle(2)
	equal(t, "workers that share memory", p.Stat().SharedMemory, 2)
	idle.Release()
	g := newGate(t)
	call := hold.Go(limited(t), busy, g.path)
	g.next(t)
	p.Close()
	call.Wait()
	busy.Release()
	busy, idle, call = nil, nil, nil
	equal(t, "workers that share memory", p.Stat().SharedMemory, 0)
	settle(0)
}
