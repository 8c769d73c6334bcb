//go:build linux || darwin

package pool_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func TestTimeoutInTheMiddleOfACallKillsTheWorkerAndSticks(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, sharedServer(t), pool.Config{Wire: kind, MaxWorkers: 1})
		ctx, g := limited(t), newGate(t)
		must[int](t)(pid.Call(ctx, p)) // its worker is there now
		co := checkout(t, p.With(pool.CheckoutConfig{Timeout: 500 * time.Millisecond}))
		call, queued := hang.Go(ctx, co, g.path, "asleep"), pid.Go(ctx, co)
		g.next(t).gone(t)
		_, err := call.Wait()
		e := as[*pool.TimeoutError](t, err)
		is(t, err, context.DeadlineExceeded)
		if e.Ran < 500*time.Millisecond-e.Waited || e.Kept || e.Method != "hang" || e.Waited > e.Ran || wire.SafeToRetry(err) {
			t.Errorf("%+v", e)
		}
		_, qerr := queued.Wait()
		equal(t, "the queued call's cause", as[*pool.TimeoutError](t, qerr), e)
		for range 2 {
			_, again := pid.Call(ctx, co)
			equal(t, "a later call", again, err)
		}
		must[int](t)(pid.Call(ctx, p)) // with a new worker, before the release
		co.Release()
		equal(t, "workers ended for it", p.Stat().Ends["timeout"], 1)
	})
}

func TestTimeoutOfAPoolsCall(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1, Timeout: 200 * time.Millisecond})
	g := newGate(t)
	until(t, "the call has run until its timeout", func() bool { // on a busy machine the wait for a worker may take it all
		_, err := hang.Call(limited(t), p, g.path, "asleep")
		return as[*pool.TimeoutError](t, err).Ran > 0
	})
	patient := p.With(pool.CheckoutConfig{Timeout: -1})
	must[int](t)(pid.Call(limited(t), patient))
	equal(t, "workers ended for it", p.Stat().Ends["timeout"], 1)
}

// TestTimeoutIsPerCall queues calls that take longer than Timeout together.
func TestTimeoutIsPerCall(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{Timeout: 2 * time.Second})
	co := checkout(t, p)
	var calls []*wire.Pending[wire.None]
	for range 5 {
		calls = append(calls, nap.Go(limited(t), co, 500*time.Millisecond))
	}
	for _, c := range calls {
		must[wire.None](t)(c.Wait())
	}
}

// TestNoDeadlineOutlivesItsCall makes calls after the deadlines of a call that blocked in writing, and of one that
// waited long for its reply.
func TestNoDeadlineOutlivesItsCall(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	ctx, co := limited(t), checkout(t, p.With(pool.CheckoutConfig{Timeout: time.Second}))
	before := co.Pid()
	must[[]byte](t)(echoBytes.Call(ctx, co, make([]byte, 1<<20)))
	must[wire.None](t)(nap.Call(ctx, co, 50*time.Millisecond))
	co.Release()
	cctx, cancel := context.WithCancel(ctx)
	must[[]byte](t)(echoBytes.Call(cctx, p, make([]byte, 1<<20)))
	must[wire.None](t)(nap.Call(cctx, p, 50*time.Millisecond))
	cancel()
	time.Sleep(time.Second) // the time that must do nothing
	equal(t, "the worker", must[int](t)(pid.Call(ctx, p)), before)
	must[wire.None](t)(nap.Call(ctx, p, 50*time.Millisecond))
}

// TestCanceledHandlerThatReturnsKeepsItsWorker ends a call's context, in several ways.
func TestCanceledHandlerThatReturnsKeepsItsWorker(t *testing.T) {
	t.Parallel()
	why := errors.New("the user went home")
	cancelIt := func(ctx context.Context) (context.Context, func()) {
		c, cancel := context.WithCancelCause(ctx)
		return c, func() { cancel(why) }
	}
	// The deadline can't be set to the moment when the handler runs, so this context is over by hand.
	expireIt := func(ctx context.Context) (context.Context, func()) {
		c := &expiringContext{Context: ctx, done: make(chan struct{})}
		return c, func() { close(c.done) }
	}
	srv := start(t, plain, forkserver.Config{Limits: server.Limits{CancelGrace: patience}})
	for name, test := range map[string]struct {
		with   func(context.Context) (context.Context, func())
		target error
	}{"canceled": {cancelIt, why}, "canceled, as its context says": {cancelIt, context.Canceled},
		"deadline": {expireIt, context.DeadlineExceeded}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, srv, pool.Config{MaxWorkers: 1})
			g, co := newGate(t), checkout(t, p)
			ctx, end := test.with(limited(t))
			call := hold.Go(ctx, co, g.path)
			h := g.next(t)
			end()
			h.gone(t) // the handler's context has ended
			_, err := call.Wait()
			is(t, err, test.target)
			equal(t, "safe to retry", wire.SafeToRetry(err), false)
			if test.target == context.DeadlineExceeded {
				if e := as[*pool.TimeoutError](t, err); !e.Kept || e.Ran <= 0 || e.Method != "hold" {
					t.Errorf("%+v", e)
				}
			} else if e := as[*pool.CanceledError](t, err); !e.Kept || e.Method != "hold" || e.Remote == nil || e.Remote.Message != context.Canceled.Error() {
				t.Errorf("%+v", e)
			}
			equal(t, "the worker", must[int](t)(pid.Call(limited(t), co)), h.pid)
			co.Release()

			ctx, end = test.with(limited(t))
			call = hold.Go(ctx, p, g.path)
			g.next(t)
			end()
			_, err = call.Wait()
			is(t, err, test.target)
			equal(t, "the worker of a pool's call", must[int](t)(pid.Call(limited(t), p)), h.pid)
		})
	}
}

// expiringContext is over when done is closed, and says that its deadline has passed.
type expiringContext struct {
	context.Context
	done chan struct{}
}

func (c *expiringContext) Done() <-chan struct{} { return c.done }

func (c *expiringContext) Err() error {
	select {
	case <-c.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestCanceledHandlerThatDoesNotReturnIsKilled(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"asleep", "busy", "stopped", "raw"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
			g, co := newGate(t), checkout(t, p)
			ctx, cancel := context.WithCancel(limited(t))
			call := hang.Go(ctx, co, g.path, how)
			h := g.next(t)
			cancel()
			h.gone(t)
			_, err := call.Wait()
			is(t, err, context.Canceled)
			if e := as[*pool.CanceledError](t, err); e.Kept || !strings.Contains(err.Error(), "its worker was ended") {
				t.Errorf("%+v", e)
			}
			_, again := pid.Call(limited(t), co)
			equal(t, "a later call", again, err)
			must[int](t)(pid.Call(limited(t), p))
			equal(t, "workers ended for it", p.Stat().Ends["canceled"], 1)
		})
	}
}

// TestCallThatCannotBeWrittenEndsInTime sends more than a socket takes to a worker that is stopped.
func TestCallThatCannotBeWrittenEndsInTime(t *testing.T) {
	t.Parallel()
	for what, target := range map[string]error{"timeout": context.DeadlineExceeded, "cancel": context.Canceled} {
		p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
		must[int](t)(pid.Call(limited(t), p)) // its worker is there now
		ctx, cancel := context.WithCancel(limited(t))
		timeout := time.Duration(0)
		if what == "timeout" {
			timeout = 300 * time.Millisecond
		}
		co := checkout(t, p.With(pool.CheckoutConfig{Timeout: timeout}))
		stop(t, co.Pid())
		call := echoBytes.Go(ctx, co, make([]byte, 16<<20))
		if what == "cancel" {
			time.AfterFunc(50*time.Millisecond, cancel) // in the middle of the write, or before it
		}
		_, err := call.Wait()
		is(t, err, target)
		cancel()
		until(t, "the worker is dead", func() bool { return syscall.Kill(co.Pid(), 0) == syscall.ESRCH })
		must[int](t)(pid.Call(limited(t), p))
	}
}

func TestContextsDeadlineEndsACallThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	g, co := newGate(t), checkout(t, p)
	ctx, cancel := context.WithTimeout(limited(t), 300*time.Millisecond)
	defer cancel()
	_, err := hang.Call(ctx, co, g.path, "busy")
	is(t, err, context.DeadlineExceeded)
	equal(t, "the worker lives", as[*pool.TimeoutError](t, err).Kept, false)
	equal(t, "workers ended for it", p.Stat().Ends["timeout"], 1)
}

// TestNothingHoldsOnToACallsLogger gives calls that end in different ways a logger, and waits for it to be collected.
func TestNothingHoldsOnToACallsLogger(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 2})
	g := newGate(t)
	other := checkout(t, p) // lives on, and must not matter
	ends := map[string]func(context.Context, wire.Caller) error{
		"timeout": func(ctx context.Context, c wire.Caller) error {
			_, err := hang.Call(ctx, c, g.path, "asleep")
			return err
		},
		"result":   func(ctx context.Context, c wire.Caller) error { _, err := chatter.Call(ctx, c, 1, ""); return err },
		"error":    func(ctx context.Context, c wire.Caller) error { _, err := chatter.Call(ctx, c, 1, "fail"); return err },
		"death":    func(ctx context.Context, c wire.Caller) error { _, err := chatter.Call(ctx, c, 1, "exit"); return err },
		"encoding": func(ctx context.Context, c wire.Caller) error { _, err := echo.Call(ctx, c, func() {}); return err },
	}
	for name, call := range ends {
		collected, timeout := make(chan struct{}), patience
		if name == "timeout" {
			timeout = 500 * time.Millisecond
		}
		use := func() {
			logs := newRecords()
			runtime.AddCleanup(logs, func(c chan struct{}) { close(c) }, collected)
			view := p.With(pool.CheckoutConfig{Logger: logs, Timeout: timeout})
			call(limited(t), view)
			co, err := view.Checkout(limited(t))
			if err != nil { // on a busy machine a worker may take longer to start
				as[*pool.TimeoutError](t, err)
				return
			}
			call(limited(t), co)
			call(limited(t), co)
			co.Release()
		}
		use()
		until(t, "the logger is collected after: "+name, func() bool {
			runtime.GC()
			select {
			case <-collected:
				return true
			default:
				return false
			}
		})
	}
	must[int](t)(pid.Call(limited(t), other))
}
