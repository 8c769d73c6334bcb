package pool

import (
	"context"
	"sync"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// Checkout is exclusive use of one worker. Its calls run one at a time, in the order in which they were made, by
// whichever goroutines.
//
// States: free → running (a call) → free … → ended (Release). An error that ends the worker (its death, a timeout,
// Abort) sticks: every later call returns it.
type Checkout struct {
	v   *View
	pid int

	mu      sync.Mutex // guards all below
	w       *worker    // nil after Release
	handle  *handle
	running bool
	queue   []*turn
	err     error // that sticks
}

// turn is a call that waits for those before it.
type turn struct {
	call *wire.Call
	ctx  context.Context
	// begin is closed when the turn has come, or err is set. It is nil for Go: then the call is run by whoever ends the
	// one before.
	begin chan struct{}
	w     *worker
	err   error
}

// Pid returns the process id of the worker, or 0 if its wire doesn't tell.
func (c *Checkout) Pid() int { return c.pid }

// Call runs a method by its name. See Pool.Call.
func (c *Checkout) Call(ctx context.Context, reply any, method string, args ...any) error {
	return c.Do(ctx, &wire.Call{Method: method, Args: args, Reply: reply})
}

// Do runs the call behind those queued before it, and waits for its end. If one of them fails the call isn't run: its
// error is then a *SkippedError. After Release it returns ErrClosed.
func (c *Checkout) Do(ctx context.Context, call *wire.Call) error {
	c.mu.Lock()
	if err := c.unusable(); err != nil {
		c.mu.Unlock()
		return err
	}
	if c.running {
		return c.waitTurn(ctx, call) // unlocks
	}
	c.running = true
	w := c.w
	c.mu.Unlock()
	return c.run(ctx, w, call)
}

// unusable returns why no call can be made. The caller holds mu.
func (c *Checkout) unusable() error {
	if c.err != nil {
		return c.err
	}
	if c.w == nil {
		return ErrClosed
	}
	return nil
}

// waitTurn queues the call, waits until it may run, and runs it. The caller holds mu; waitTurn unlocks it.
func (c *Checkout) waitTurn(ctx context.Context, call *wire.Call) error {
	t := &turn{call: call, ctx: ctx, begin: make(chan struct{})}
	c.queue = append(c.queue, t)
	c.mu.Unlock()
	queued := time.Now()
	select {
	case <-t.begin:
	case <-ctx.Done():
		if c.leave(t) {
			return c.v.p.late(ctx, call.Method, time.Time{}, time.Now(), queued)
		}
		<-t.begin // its turn came at the same moment
	}
	if t.err != nil {
		return t.err
	}
	return c.run(ctx, t.w, call)
}

// leave takes t out of the queue. It reports whether t was still in.
func (c *Checkout) leave(t *turn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, x := range c.queue {
		if x == t {
			c.queue = append(c.queue[:i], c.queue[i+1:]...)
			return true
		}
	}
	return false
}

// Go queues the call behind those before it and returns at once. See Do.
func (c *Checkout) Go(ctx context.Context, call *wire.Call) {
	call.Begin()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.unusable(); err != nil {
		call.Finish(err)
		return
	}
	t := &turn{call: call, ctx: ctx}
	if c.running {
		c.queue = append(c.queue, t)
		return
	}
	c.running = true
	go c.runTurn(t, c.w)
}

func (c *Checkout) runTurn(t *turn, w *worker) { t.call.Finish(c.run(t.ctx, w, t.call)) }

// run runs a call whose turn it is, and lets the next one run.
func (c *Checkout) run(ctx context.Context, w *worker, call *wire.Call) error {
	err := w.call(ctx, call, &c.v.s, time.Now(), false)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = false
	if c.err != nil { // by Abort, or Release, which ended the worker under the call
		if err != nil {
			err = c.err
		}
	} else if w.end != "" && w.end != endPanic {
		c.err = err
	}
	if c.w == nil { // released meanwhile: whoever runs the last call gives the worker back
		c.giveBack(w)
	}
	if err != nil {
		c.skip(err)
		return err
	}
	c.next()
	return nil
}

// next lets the first of the queue run. The caller holds mu.
func (c *Checkout) next() {
	if len(c.queue) == 0 {
		return
	}
	t := c.queue[0]
	c.queue = append(c.queue[:0], c.queue[1:]...)
	c.running = true
	t.w = c.w
	if t.begin != nil {
		close(t.begin)
		return
	}
	go c.runTurn(t, c.w)
}

// skip ends all that is queued, because a call has failed. The caller holds mu.
func (c *Checkout) skip(err error) {
	for _, t := range c.queue {
		skipped := err
		if c.err == nil {
			skipped = &SkippedError{Method: t.call.Method, Err: err}
		}
		if t.begin != nil {
			t.err = skipped
			close(t.begin)
		} else {
			t.call.Finish(skipped)
		}
	}
	c.queue = nil
}

// Abort ends the worker. The running call and all later ones end with err, or with ErrAborted if err is nil. After
// Release, and after an error that sticks already, it does nothing.
func (c *Checkout) Abort(err error) {
	if err == nil {
		err = ErrAborted
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unusable() != nil {
		return
	}
	c.err = err
	c.end(endAborted)
}

// Release gives the worker back. A second Release does nothing. A call that still runs ends with ErrClosed, and so do
// those queued behind it, and the worker is ended.
func (c *Checkout) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.w
	if w == nil {
		return
	}
	c.w = nil
	if !c.running {
		c.giveBack(w)
		return
	}
	if c.err == nil {
		c.err = ErrClosed
	}
	w.kill("its checkout was released during a call")
	c.skip(c.err)
}

// end kills the worker. The caller holds mu.
func (c *Checkout) end(why string) {
	c.w.kill(why)
	if !c.running {
		c.w.end = why
		return
	}
	c.skip(c.err)
}

// giveBack returns the worker, which no call uses, to the pool. The caller holds mu.
func (c *Checkout) giveBack(w *worker) {
	if w.end == "" && c.err != nil {
		w.end = endReleased
	}
	w.handle, c.handle = c.handle, nil
	w.pool.release(w)
}
