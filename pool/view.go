package pool

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

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
func (p *Pool) With(c CheckoutConfig) *View { return p.view().With(c) }

// view returns the pool's own settings.
func (p *Pool) view() *View {
	return &View{p, settings{timeout: p.config.Timeout, logger: p.config.Logger}}
}

// With returns a view in which c overrides v's settings.
func (v *View) With(c CheckoutConfig) *View {
	n := *v
	switch {
	case c.Timeout > 0:
		n.s.timeout = c.Timeout
	case c.Timeout < 0:
		n.s.timeout = 0
	}
	if c.Logger != nil {
		n.s.logger = c.Logger
	}
	if c.Meta != nil {
		n.s.meta = maps.Clone(c.Meta)
	}
	return &n
}

// Do runs the call on the next free worker: checkout, call, release. It returns the call's error; see the package's
// errors. A call that provably never reached its worker is sent to another one.
func (p *Pool) Do(ctx context.Context, call *wire.Call) error {
	return p.do(ctx, call, &settings{timeout: p.config.Timeout, logger: p.config.Logger})
}

// Do runs the call on the next free worker. See Pool.Do.
func (v *View) Do(ctx context.Context, call *wire.Call) error { return v.p.do(ctx, call, &v.s) }

func (p *Pool) do(ctx context.Context, call *wire.Call, s *settings) error {
	start := time.Now()
	for try := 0; ; try++ {
		w, err := p.acquire(ctx, start, s.timeout)
		if err != nil {
			return named(err, call.Method)
		}
		err = w.call(ctx, call, s, start, true)
		p.release(w)
		var died *WorkerDiedError
		if err == nil || try == maxTries || !errors.As(err, &died) || !died.Unread {
			return err
		}
	}
}

const maxTries = 5 // for a call that no worker has read

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

// Go runs the call on the next free worker, and returns at once.
func (p *Pool) Go(ctx context.Context, call *wire.Call) { p.view().Go(ctx, call) }

// Go runs the call on the next free worker, and returns at once.
func (v *View) Go(ctx context.Context, call *wire.Call) {
	call.Begin()
	go func() { call.Finish(v.Do(ctx, call)) }()
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
func (p *Pool) Checkout(ctx context.Context) (*Checkout, error) { return p.view().Checkout(ctx) }

// Checkout waits for a free worker. See Pool.Checkout.
func (v *View) Checkout(ctx context.Context) (*Checkout, error) {
	w, err := v.p.acquire(ctx, time.Now(), v.s.timeout)
	if err != nil {
		return nil, err
	}
	c := &Checkout{v: v, w: w, handle: w.handle, pid: w.pid()}
	w.handle = nil
	return c, nil
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
