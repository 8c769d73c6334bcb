package pool

import (
	"context"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// Observer is told what happens in a pool: Config.Observer. Fields that are nil are left out. Its functions may be called
// by any number of goroutines at once. What a function returns as a context goes to the one that tells of the end; nil
// stands for the context that it got.
//
// A call on a pool is CallStart, perhaps WaitStart and WaitEnd, CheckoutStart, CheckoutEnd, CallEnd. A Checkout that is
// taken by hand is perhaps WaitStart and WaitEnd, CheckoutStart, the calls made on it, CheckoutEnd. Every start has its
// end.
//
// All but the two that tell of workers are called by whoever makes the call, who waits for them. They may use the pool,
// but not the checkout that they are told about. If one panics, the panic is the caller's, and the worker goes back to the
// pool.
type Observer struct {
	// CallStart is called by Do and Go before anything else, but not for a call on a checkout that was released. The context that it returns is the call's, with its end. It may
	// put a larger copy of the call's Meta in its place, which the handler then gets; the map itself is the caller's.
	CallStart func(context.Context, CallStart) context.Context
	// CallEnd is called when the call has ended, before its caller hears of it.
	CallEnd func(context.Context, CallEnd)
	// WaitStart is called when a call or a checkout has entered the pool's queue. Who gets a worker at once does not wait.
	WaitStart func(context.Context, WaitStart) context.Context
	// WaitEnd is called when that wait has ended, with a worker or without one.
	WaitEnd func(context.Context, WaitEnd)
	// CheckoutStart is called when a worker was taken, before the first call on it.
	CheckoutStart func(context.Context, CheckoutStart) context.Context
	// CheckoutEnd is called when the worker is given back, before CheckoutDone runs in it.
	CheckoutEnd func(context.Context, CheckoutEnd)
	// WorkerConnected is called when a worker is set up and connected. This and WorkerEnded are called by a goroutine of
	// the pool's, one at a time and in order, after the fact: beside what is told of calls. Pool.Close waits for it, and so
	// they must not call that.
	WorkerConnected func(WorkerConnected)
	// WorkerEnded is called when the pool has let a worker go.
	WorkerEnded func(WorkerEnded)
}

// CallStart tells that a call begins. The Call is valid until its CallEnd returns.
type CallStart struct {
	Pool string // its name
	Call *wire.Call
}

// CallEnd tells that a call has ended. Its Cost and Pid are set.
type CallEnd struct {
	Pool string
	Call *wire.Call
	Err  error // what the caller gets
}

// WaitStart tells that somebody waits for a worker.
type WaitStart struct {
	Pool  string
	Since time.Time // when the wait began: a little earlier
}

// WaitEnd tells that a wait has ended.
type WaitEnd struct {
	Pool   string
	Waited time.Duration
	Pid    int   // of the worker, if there is one and its wire tells
	Err    error // why there is none
}

// CheckoutStart tells that a worker was taken.
type CheckoutStart struct {
	Pool string
	Pid  int // of the worker; 0 if its wire doesn't tell
}

// CheckoutEnd tells that a worker is given back.
type CheckoutEnd struct {
	Pool string
	Pid  int
	// Reason is why the worker is ended now, in the words of Stat.Ends. It is empty if nothing in the checkout was a reason.
	Reason string
}

// WorkerConnected tells that the pool has one more worker.
type WorkerConnected struct {
	Pool string
	Pid  int // 0 if its wire doesn't tell
}

// WorkerEnded tells that the pool has one worker less.
type WorkerEnded struct {
	Pool      string
	Pid       int
	Reason    string // in the words of Stat.Ends
	Checkouts int    // that it had
}

// observed runs a call and tells the observer about it.
func (p *Pool) observed(ctx context.Context, call *wire.Call, run func(context.Context, *wire.Call) error) (err error) {
	ctx = p.callStart(ctx, call)
	err = errPanicked
	defer func() { p.callEnd(ctx, call, err) }()
	err = run(ctx, call)
	return err
}

// observer returns the pool if its observer is to be told of the checkout's calls, or nil. The checkout must not be locked.
func (c *Checkout) observer() *Pool {
	if !c.observed {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handle == nil { // released
		return nil
	}
	return c.handle.w.pool
}

func (p *Pool) callStart(ctx context.Context, call *wire.Call) context.Context {
	if f := p.config.Observer.CallStart; f != nil {
		return either(f(ctx, CallStart{p.config.Name, call}), ctx)
	}
	return ctx
}

func (p *Pool) callEnd(ctx context.Context, call *wire.Call, err error) {
	if f := p.config.Observer.CallEnd; f != nil {
		f(ctx, CallEnd{p.config.Name, call, err})
	}
}

// finish ends a call that Go has begun.
func (p *Pool) finish(ctx context.Context, call *wire.Call, err error) {
	if p.config.Observer != nil {
		p.callEnd(ctx, call, err)
	}
	call.Finish(err)
}

// finish ends calls that Go has queued, and that were skipped.
func finish(begun []*turn) {
	for _, t := range begun {
		t.w.pool.finish(t.ctx, t.call, t.err)
	}
}

func either(first, second context.Context) context.Context {
	if first != nil {
		return first
	}
	return second
}

// awaitObserved is await with an observer. Whatever panics, the place in the queue and the worker are not lost.
func (p *Pool) awaitObserved(ctx context.Context, w *waiter) (got *worker, at instant, err error) {
	o, start, waits, told := p.config.Observer, w.start, true, false
	defer func() {
		switch {
		case told:
		case waits:
			p.leave(w)
		case got != nil:
			p.sort(got)
		}
	}()
	inside := ctx
	if o.WaitStart != nil {
		inside = either(o.WaitStart(ctx, WaitStart{p.config.Name, start.time()}), ctx)
	}
	waits = false
	got, at, err = p.stand(ctx, w)
	if o.WaitEnd != nil {
		e := WaitEnd{Pool: p.config.Name, Waited: at.since(start), Err: err}
		if got != nil {
			e.Pid = got.pid()
		}
		o.WaitEnd(inside, e)
	}
	told = true
	return got, at, err
}

// leave gives up a place in the queue.
func (p *Pool) leave(w *waiter) {
	if !p.withdraw(w) {
		if g := <-w.ready; g.worker != nil {
			p.sort(g.worker)
		}
	}
	w.recycle()
}

// checkoutStart tells the observer that w was taken. If it panics w goes back.
func (p *Pool) checkoutStart(ctx context.Context, w *worker) {
	told := false
	defer func() {
		if !told {
			p.sort(w)
		}
	}()
	inside := ctx
	if f := p.config.Observer.CheckoutStart; f != nil {
		inside = either(f(ctx, CheckoutStart{p.config.Name, w.pid()}), ctx)
	}
	told = true
	w.observed = inside
}

// releaseObserved tells the observer that w is given back, and takes it back, whatever panics.
func (p *Pool) releaseObserved(w *worker) {
	defer p.release(w)
	p.checkoutEnd(w, w.spent())
}

// checkoutEnd tells the observer that w is given back.
func (p *Pool) checkoutEnd(w *worker, reason string) {
	ctx := w.observed
	w.observed = nil
	if f := p.config.Observer.CheckoutEnd; f != nil {
		f(ctx, CheckoutEnd{p.config.Name, w.pid(), reason})
	}
}
