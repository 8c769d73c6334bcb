package pool

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/bullpen-go/bullpen/wire"
)

// View is a pool with other settings for its calls and checkouts. It shares the pool's workers and queue.
type View struct {
	p *Pool
	s settings
}

var (
	_ wire.Caller = (*Pool)(nil)
	_ wire.Caller = (*View)(nil)
	_ wire.Caller = (*Checkout)(nil)
)

// With returns a view of the pool in which c overrides the pool's settings.
func (p *Pool) With(c CheckoutConfig) *View { return p.own.With(c) }

// With returns a view in which c overrides v's settings.
func (v *View) With(c CheckoutConfig) *View {
	n := *v
	switch {
	case c.Timeout > 0 && !v.p.config.untimed:
		n.s.timeout = c.Timeout
	case c.Timeout < 0:
		n.s.timeout = 0
	}
	if c.Logger != nil {
		n.s.logger = c.Logger
	}
	n.s.measure = n.s.measure || c.Measure
	if c.Meta != nil {
		n.s.meta = maps.Clone(c.Meta)
	}
	return &n
}

// Do runs the call on the next free worker: checkout, call, release. It returns the call's error; see the package's
// errors. A call that provably never reached its worker is sent to another one.
func (p *Pool) Do(ctx context.Context, call *wire.Call) error {
	return p.own.Do(ctx, call)
}

// Do runs the call on the next free worker. See Pool.Do.
func (v *View) Do(ctx context.Context, call *wire.Call) error {
	if v.p.config.Observer != nil {
		return v.p.observed(ctx, call, v.run)
	}
	return v.run(ctx, call)
}

// run is Do without an observer of calls.
func (v *View) run(ctx context.Context, call *wire.Call) error {
	start := now()
	w, at, err := v.p.acquire(ctx, start, v.s.timeout)
	return v.do(ctx, call, start, at, w, err)
}

// do runs the call on w at the time at, or ends it with the error of a wait for w.
func (v *View) do(ctx context.Context, call *wire.Call, start, at instant, w *worker, err error) error {
	for try := 0; ; try++ {
		if err != nil {
			call.Cost.Queued = at.since(start)
			return named(err, call.Method)
		}
		err = v.once(ctx, call, start, at, w)
		if err == nil || try == maxTries || !unread(err) {
			return err
		}
		if w, at, err = v.p.acquire(ctx, start, v.s.timeout); at == start {
			at = now()
		}
	}
}

const maxTries = 5 // for a call that no worker has read

func unread(err error) bool {
	var died *WorkerDiedError
	return errors.As(err, &died) && died.Unread
}

// once runs the call on w, and releases it.
func (v *View) once(ctx context.Context, call *wire.Call, start, at instant, w *worker) error {
	if v.p.config.Observer != nil {
		v.p.checkoutStart(ctx, w)
	}
	returned := false
	defer func() {
		if !returned { // by a panic in the caller's own code
			w.abandon()
		}
		v.p.release(w)
	}()
	err := w.call(ctx, call, &v.s, start, at, true)
	returned = true
	return err
}

// named puts the method into the error of a wait for a worker.
func named(err error, method string) error {
	switch e := err.(type) {
	case *TimeoutError:
		e.Method = method
	case *CanceledError:
		e.Method = method
	}
	return err
}

// Go runs the call on the next free worker, and returns at once. The call's place in the queue is that of its Go.
func (p *Pool) Go(ctx context.Context, call *wire.Call) { p.own.Go(ctx, call) }

// Go runs the call on the next free worker, and returns at once. See Pool.Go.
func (v *View) Go(ctx context.Context, call *wire.Call) {
	call.Begin()
	if v.p.config.Observer != nil {
		ctx = v.p.callStart(ctx, call)
	}
	start := now()
	w, wait, err := v.p.enter(start, v.s.timeout)
	go func() {
		at := now()
		if wait != nil {
			w, at, err = v.p.await(ctx, wait)
		}
		v.p.finish(ctx, call, v.do(ctx, call, start, at, w, err))
	}()
}

// Call runs a method by its name, for methods without a typed client. reply is a pointer that the result is decoded
// into, or nil.
func (p *Pool) Call(ctx context.Context, reply any, method string, args ...any) error {
	return p.Do(ctx, &wire.Call{Method: method, Args: args, Reply: reply})
}

// Call runs a method by its name. See Pool.Call.
func (v *View) Call(ctx context.Context, reply any, method string, args ...any) error {
	return v.Do(ctx, &wire.Call{Method: method, Args: args, Reply: reply})
}

// Checkout waits for a free worker, in order of arrival, for at most Timeout, and returns it for exclusive use. The
// caller must Release it. Errors: *TimeoutError, ErrQueueFull, ErrClosed, what wraps ErrServerGone, *wire.SetupError and
// *WorkerDiedError if workers can't be set up, and *CanceledError when ctx ends first.
func (p *Pool) Checkout(ctx context.Context) (*Checkout, error) { return p.own.Checkout(ctx) }

// Checkout waits for a free worker. See Pool.Checkout.
func (v *View) Checkout(ctx context.Context) (*Checkout, error) {
	if ctx.Err() != nil {
		return nil, v.p.late(ctx, "", 0, 0, 0)
	}
	w, wait, err := v.p.enter(0, v.s.timeout)
	if wait != nil {
		w, _, err = v.p.await(ctx, wait)
	}
	if err == nil && w.unmet {
		w, err = v.meet(ctx, w)
	}
	if err != nil {
		return nil, err
	}
	observed := v.p.config.Observer != nil
	if observed {
		v.p.checkoutStart(ctx, w)
	}
	c := &Checkout{handle: w.handle, pid: int32(w.pid()), observed: observed}
	c.handle.view, w.handle = v, nil
	return c, nil
}

// meet waits for the hello of w, or of another worker if w has died unused. It returns the one that has said it.
func (v *View) meet(ctx context.Context, w *worker) (*worker, error) {
	for try := 0; ; try++ {
		err := w.introduce(ctx, &v.s)
		if err == nil {
			return w, nil
		}
		v.p.release(w)
		v.p.mu.Lock()
		v.p.stat.Checkouts-- // nobody got it
		v.p.mu.Unlock()
		if try == maxTries || !unread(err) {
			return nil, err
		}
		if w, _, err = v.p.acquire(ctx, 0, v.s.timeout); err != nil || !w.unmet {
			return w, err
		}
	}
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
