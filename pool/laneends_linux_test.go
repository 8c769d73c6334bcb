package pool_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// laneSizes are a lane that any call fits into, and one that few do.
var laneSizes = []int{0, 8 << 10}

// A call that hangs ends at its timeout, or when its context ends, and its worker is killed. The next one gets a lane too.
func TestLaneCallThatHangs(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"busy", "asleep", "stopped", "raw"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
			g, co := newGate(t), onLane(t, p)
			ctx, cancel := context.WithTimeout(limited(t), 300*time.Millisecond)
			defer cancel()
			_, err := hang.Call(ctx, co, g.path, how)
			equal(t, "the worker lives", as[*pool.TimeoutError](t, err).Kept, false)
			equal(t, "workers that share memory", p.Stat().SharedMemory, 0)
			g.next(t).gone(t)
			co.Release()

			co = onLane(t, p)
			cctx, cancel := context.WithCancel(limited(t))
			call := hang.Go(cctx, co, g.path, how)
			h := g.next(t)
			cancel()
			_, err = call.Wait()
			equal(t, "the worker lives", as[*pool.CanceledError](t, err).Kept, false)
			h.gone(t)
			co.Release()
			onLane(t, p)
			equal(t, "workers ended for it", p.Stat().Ends["timeout"]+p.Stat().Ends["canceled"], 2)
		})
	}
}

// A handler that returns when its context ends keeps its worker, and the lane.
func TestLaneCallThatIsCanceled(t *testing.T) {
	t.Parallel()
	srv := start(t, plain, forkserver.Config{Limits: server.Limits{CancelGrace: patience}})
	for _, memory := range laneSizes {
		p := newPool(t, srv, pool.Config{MaxWorkers: 1, SharedMemory: memory})
		g, co := newGate(t), onLane(t, p)
		for range 5 {
			ctx, cancel := context.WithCancel(limited(t))
			call := hold.Go(ctx, co, g.path)
			h := g.next(t)
			cancel()
			h.gone(t)
			_, err := call.Wait()
			is(t, err, context.Canceled)
			equal(t, "the worker lives", as[*pool.CanceledError](t, err).Kept, true)
			equal(t, "the worker", must[int](t)(pid.Call(limited(t), co)), h.pid)
		}
		equal(t, "workers that share memory", p.Stat().SharedMemory, 1)
	}
}

// A cancel while the lane is being offered reaches the handler of the call behind it.
func TestLaneCancelDuringTheOffer(t *testing.T) {
	t.Parallel()
	srv := start(t, plain, forkserver.Config{Limits: server.Limits{CancelGrace: patience}})
	p := newPool(t, srv, pool.Config{MaxWorkers: 1})
	g, co := newGate(t), checkout(t, p)
	must[int](t)(pid.Call(limited(t), co))
	must[int](t)(size.Call(limited(t), co, make([]byte, 512<<10)))
	stop(t, co.Pid())
	inner, cancel := context.WithCancel(limited(t))
	ctx, waits := queuing(inner) // of whom the call asks for the end only when it has waited for a while
	call := hold.Go(ctx, co, g.path)
	recv(t, waits)
	cancel()
	time.Sleep(50 * time.Millisecond) // a cancel would have been sent by then; that none is, nobody tells
	syscall.Kill(co.Pid(), syscall.SIGCONT)
	_, err := call.Wait()
	equal(t, "the worker lives", as[*pool.CanceledError](t, err).Kept, true)
	equal(t, "the worker", must[int](t)(pid.Call(limited(t), co)), co.Pid())
	equal(t, "workers that share memory", p.Stat().SharedMemory, 1)
}

// The app ends the call, its checkout or its pool.
func TestLaneCallThatTheAppEnds(t *testing.T) {
	t.Parallel()
	why := errors.New("enough")
	for name, end := range map[string]struct {
		how    func(*pool.Pool, *pool.Checkout)
		target error
	}{
		"Abort":   {func(_ *pool.Pool, co *pool.Checkout) { co.Abort(why) }, why},
		"Release": {func(_ *pool.Pool, co *pool.Checkout) { co.Release() }, pool.ErrClosed},
		"Close":   {func(p *pool.Pool, _ *pool.Checkout) { p.Close() }, pool.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, how := range []string{"hold", "write", "read"} {
				p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 2, SharedMemory: 8 << 10})
				g, co := newGate(t), onLane(t, p)
				idle := onLane(t, p)
				idle.Release()
				var ended func() error
				if how == "hold" { // while the handler runs
					call := hold.Go(limited(t), co, g.path)
					g.next(t)
					ended = func() error { return errorOf(call.Wait()) }
				} else { // while 16 MiB are on their way, to or from a worker that has stopped
					call := dawdle.Go(limited(t), co, g.path, how)
					if how == "write" {
						must[[]byte](t)(call.Wait())
						until(t, "the worker has stopped", func() bool { return isStopped(co.Pid()) })
						call = writing(t, limited(t), co)
					}
					until(t, "the worker has stopped", func() bool { return isStopped(co.Pid()) })
					ended = func() error { return errorOf(call.Wait()) }
				}
				end.how(p, co)
				is(t, ended(), end.target)
				_, err := pid.Call(limited(t), co)
				is(t, err, end.target)
				if name != "Close" {
					must[int](t)(pid.Call(limited(t), p))
				}
				until(t, "the worker is dead", func() bool { return syscall.Kill(co.Pid(), 0) == syscall.ESRCH })
			}
		})
	}
}

// writing returns a call of 16 MiB that is being written, and has been for a moment.
func writing(t *testing.T, ctx context.Context, co *pool.Checkout) *wire.Pending[[]byte] {
	t.Helper()
	qctx, waits := queuing(ctx) // whose end is asked for when a wait has taken long
	call := echoBytes.Go(qctx, co, pattern(16<<20))
	recv(t, waits)
	return call
}

// A message that is stuck in the middle, as the worker has stopped, ends when its call does.
func TestLaneMessageThatIsStuck(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"write", "read"} {
		for what, target := range map[string]error{"timeout": context.DeadlineExceeded, "cancel": context.Canceled} {
			t.Run(how+" "+what, func(t *testing.T) {
				t.Parallel()
				p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
				g, co := newGate(t), onLane(t, p)
				if how == "write" {
					must[[]byte](t)(dawdle.Call(limited(t), co, g.path, how))
					until(t, "the worker has stopped", func() bool { return isStopped(co.Pid()) })
				}
				ctx, cancel := context.WithCancel(limited(t))
				if what == "timeout" { // long enough for what comes before the wait
					ctx, cancel = context.WithTimeout(limited(t), 2*time.Second)
				}
				defer cancel()
				var call *wire.Pending[[]byte]
				if how == "write" {
					call = writing(t, ctx, co)
				} else {
					call = dawdle.Go(ctx, co, g.path, how)
				}
				until(t, "the worker has stopped", func() bool { return isStopped(co.Pid()) })
				if what == "cancel" {
					cancel()
				}
				_, err := call.Wait()
				is(t, err, target)
				until(t, "the worker is dead", func() bool { return syscall.Kill(co.Pid(), 0) == syscall.ESRCH })
				co.Release()
				must[int](t)(pid.Call(limited(t), p))
			})
		}
	}
}

// A worker that always has another byte does not keep its call from ending in time.
func TestLaneReplyThatDrips(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	co := onLane(t, p)
	ctx, cancel := context.WithTimeout(limited(t), 30*time.Millisecond)
	defer cancel()
	_, err := drip.Call(ctx, co)
	as[*pool.TimeoutError](t, err)
	co.Release()
	must[int](t)(pid.Call(limited(t), p))
}

func TestLaneWorkerIsHung(t *testing.T) {
	t.Parallel()
	srv := start(t, plain, forkserver.Config{Limits: server.Limits{HungTimeout: time.Second}})
	for _, how := range []string{"busy", "asleep", "stopped", "raw"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			co := onLane(t, newPool(t, srv, pool.Config{MaxWorkers: 1}))
			_, err := hang.Call(limited(t), co, newGate(t).path, how)
			died := as[*pool.WorkerDiedError](t, err)
			equal(t, "the reason", died.Exit.Reason, wire.ExitHung)
			equal(t, "unread", died.Unread, false)
			if !strings.Contains(err.Error(), `"hang" ran longer than HungTimeout (1s)`) {
				t.Errorf("the error says only %q", err)
			}
		})
	}
}
