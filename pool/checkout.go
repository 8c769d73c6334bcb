package pool

import (
	"context"
	"slices"
	"sync"

	"github.com/bullpen-go/bullpen/wire"
)

// Checkout is exclusive use of one worker. Its calls run one at a time, in the order in which they were made, by
// whichever goroutines.
//
// States: free → running (a call) → free … → ended (Release). An error that ends the worker (its death, a timeout,
// Abort) sticks: every later call returns it.
type Checkout struct {
	mu       sync.Mutex // guards all below but pid
	handle   *handle    // nil once the worker was given back
	rare     *checkout  // what most checkouts never have
	pid      int32
	running  bool
	released bool
	observed bool // the pool has an observer; never changes
}

// checkout is the part of a Checkout that most don't need: a Checkout is made for every use of a worker, and a small one is
// made faster. The Checkout's mu guards it.
type checkout struct {
	queue []*turn
	err   error  // that sticks
	why   string // Abort or Release has ended the worker, under a call or before it
}

// turn is a call that waits for those before it.
type turn struct {
	call *wire.Call
	ctx  context.Context
	// begin is closed when the turn has come, or err is set. It is nil for Go: then the call is run by whoever ends the
	// one before.
	begin  chan struct{}
	queued instant
	w      *worker
	err    error
	stop   func() bool // takes back what Go has arranged for the end of ctx, while the call is queued
}

// Pid returns the process id of the worker, or 0 if its wire doesn't tell.
func (c *Checkout) Pid() int { return int(c.pid) }

// Call runs a method by its name. See Pool.Call.
func (c *Checkout) Call(ctx context.Context, reply any, method string, args ...any) error {
	return c.Do(ctx, &wire.Call{Method: method, Args: args, Reply: reply})
}

// Do runs the call behind those queued before it, and waits for its end. If one of them fails the call isn't run: its
// error is then a *SkippedError. After Release it returns ErrClosed.
func (c *Checkout) Do(ctx context.Context, call *wire.Call) error {
	if p := c.observer(); p != nil {
		return p.observed(ctx, call, c.do)
	}
	return c.do(ctx, call)
}

// do is Do without an observer.
func (c *Checkout) do(ctx context.Context, call *wire.Call) error {
	c.mu.Lock()
	if err := c.unusable(); err != nil {
		c.mu.Unlock()
		return err
	}
	if c.running {
		return c.waitTurn(ctx, call) // unlocks
	}
	c.running = true
	w := c.handle.w
	c.mu.Unlock()
	return c.run(ctx, w, call, 0)
}

// more returns the rare part. The caller holds mu.
func (c *Checkout) more() *checkout {
	if c.rare == nil {
		c.rare = new(checkout)
	}
	return c.rare
}

// unusable returns why no call can be made. The caller holds mu.
func (c *Checkout) unusable() error {
	if c.rare != nil && c.rare.err != nil {
		return c.rare.err
	}
	if c.released {
		return ErrClosed
	}
	return nil
}

// waitTurn queues the call, waits until it may run, and runs it. The caller holds mu; waitTurn unlocks it.
func (c *Checkout) waitTurn(ctx context.Context, call *wire.Call) error {
	p := c.handle.w.pool
	t := &turn{call: call, ctx: ctx, queued: now(), begin: make(chan struct{})}
	c.more().queue = append(c.more().queue, t)
	c.mu.Unlock()
	select {
	case <-t.begin:
	case <-ctx.Done():
		if c.leave(t) {
			return p.tired(t)
		}
		<-t.begin // its turn came at the same moment
	}
	if t.err != nil {
		return t.err
	}
	return c.run(ctx, t.w, call, t.queued)
}

// tired returns the error of a call whose context has ended before its turn came.
func (p *Pool) tired(t *turn) error {
	at := now()
	t.call.Cost.Queued = at.since(t.queued)
	return p.late(t.ctx, t.call.Method, 0, at, t.queued)
}

// leave takes t out of the queue. It reports whether t was still in.
func (c *Checkout) leave(t *turn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.more().queue, t)
	if i < 0 {
		return false
	}
	c.rare.queue = slices.Delete(c.rare.queue, i, i+1)
	return true
}

// Go queues the call behind those before it and returns at once. See Do.
func (c *Checkout) Go(ctx context.Context, call *wire.Call) {
	call.Begin()
	p := c.observer()
	if p != nil {
		ctx = p.callStart(ctx, call)
	}
	c.mu.Lock()
	if err := c.unusable(); err != nil {
		c.mu.Unlock()
		if p != nil {
			p.callEnd(ctx, call, err)
		}
		call.Finish(err)
		return
	}
	defer c.mu.Unlock()
	t := &turn{call: call, ctx: ctx, queued: now(), w: c.handle.w}
	if c.running {
		c.more().queue = append(c.more().queue, t)
		t.stop = context.AfterFunc(ctx, func() {
			if c.leave(t) {
				t.w.pool.finish(ctx, call, t.w.pool.tired(t))
			}
		})
		return
	}
	c.running = true
	go c.runTurn(t)
}

func (c *Checkout) runTurn(t *turn) {
	t.w.pool.finish(t.ctx, t.call, c.run(t.ctx, t.w, t.call, t.queued))
}

// run runs a call whose turn it is, and lets the next one run. The call was queued at the given time, or not at all.
func (c *Checkout) run(ctx context.Context, w *worker, call *wire.Call, queued instant) (err error) {
	returned := false
	defer func() {
		if !returned { // by a panic in the caller's own code
			w.abandon()
			c.ended(w, errPanicked)
		}
	}()
	at := now()
	err = w.call(ctx, call, &c.handle.view.s, at, at, false)
	if queued != 0 {
		call.Cost.Queued = at.since(queued)
	}
	returned = true
	return c.ended(w, err)
}

// ended does what follows from a call's end, and returns the call's error.
func (c *Checkout) ended(w *worker, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = false
	if r := c.rare; r != nil && r.why != "" { // the worker was ended under the call
		w.end = r.why
		if err != nil {
			err = r.err
		}
	} else if !w.usable() {
		c.more().err = err
	}
	if c.released { // meanwhile: whoever runs the last call gives the worker back
		c.giveBack(w)
	}
	if c.rare == nil {
		return err
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
	q := c.rare.queue
	if len(q) == 0 {
		return
	}
	t := q[0]
	q[0], c.rare.queue = nil, q[1:]
	c.running = true
	t.w = c.handle.w
	if t.begin != nil {
		close(t.begin)
		return
	}
	t.stop()
	go c.runTurn(t)
}

// skip ends all that is queued, because a call has failed. The caller holds mu.
func (c *Checkout) skip(err error) {
	var begun []*turn // by Go
	for _, t := range c.rare.queue {
		t.err = &SkippedError{Method: t.call.Method, Err: err}
		if t.begin != nil {
			close(t.begin)
		} else {
			t.stop()
			begun = append(begun, t)
		}
	}
	c.rare.queue = nil
	switch {
	case len(begun) == 0:
	case !c.observed:
		finish(begun)
	default: // the observer may take its time, and mu
		go finish(begun)
	}
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
	c.stop(endAborted, "its checkout was aborted", err)
}

// Release gives the worker back. A second Release does nothing. A call that still runs ends with ErrClosed, and so do
// those queued behind it, and the worker is ended.
func (c *Checkout) Release() {
	c.mu.Lock()
	if c.observed { // it may panic
		defer c.mu.Unlock()
		c.release()
		return
	}
	c.release()
	c.mu.Unlock()
}

// release is Release. The caller holds mu.
func (c *Checkout) release() {
	again := c.released
	c.released = true
	switch {
	case again:
	case !c.running:
		c.giveBack(c.handle.w)
	case c.rare == nil || c.rare.err == nil:
		c.stop(endReleased, "its checkout was released during a call", ErrClosed)
	}
}

// stop ends the worker, for the reason that Stat counts and the one that its Exit tells. err sticks. The caller holds
// mu.
func (c *Checkout) stop(reason, detail string, err error) {
	c.more().why, c.rare.err = reason, err
	c.handle.w.dismiss(reason, detail)
	if !c.running {
		c.handle.w.end = reason
	}
	c.skip(err)
}

// giveBack returns the worker, which no call uses, to the pool. The caller holds mu.
func (c *Checkout) giveBack(w *worker) {
	w.handle, c.handle = c.handle, nil
	w.handle.view = nil
	w.pool.release(w)
}
