package pool

import (
	"context"
	"errors"
	"time"
)

// acquire takes a worker, waiting for it if need be until ctx ends or the timeout has passed since start. A timeout of
// 0 is none. It returns the present time if it has had to wait, and start otherwise.
func (p *Pool) acquire(ctx context.Context, start instant, timeout time.Duration) (*worker, instant, error) {
	w, wait, err := p.enter(start, timeout)
	if wait != nil {
		return p.await(ctx, wait)
	}
	return w, start, err
}

// enter takes an idle worker, or a place in the queue that await must be called for. A start of 0 is now: who gets a
// worker at once need not read the clock.
func (p *Pool) enter(start instant, timeout time.Duration) (*worker, *waiter, error) {
	crowded := p.crowded.Load()
	if crowded && start == 0 {
		start = now() // here, as nobody can do anything while mu is held
	}
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 || p.closed || p.shutting {
			var wait *waiter
			var err error
			w := p.spare()
			if w == nil {
				wait, err = p.line(start, timeout)
			}
			p.mu.Unlock()
			return w, wait, err
		}
		if crowded {
			p.crowded.Store(false)
		}
		w := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.stat.Idle--
		p.lease(w)
		stale := w.stale()
		p.mu.Unlock()
		if !stale || !w.probe() {
			return w, nil, nil
		}
		p.discard(w, endDied)
		p.mu.Lock()
		p.stat.Checkouts-- // nobody got it
		p.mu.Unlock()
	}
}

// line takes a place in the queue. The caller holds mu.
func (p *Pool) line(start instant, timeout time.Duration) (*waiter, error) {
	switch {
	case p.closed || p.shutting:
		return nil, ErrClosed
	case p.full():
		p.stat.Refused++
		return nil, ErrQueueFull
	}
	if start == 0 {
		start = now()
	}
	if p.queue.n == 0 {
		p.pressed = start
		p.crowded.Store(true)
	}
	var deadline instant
	if timeout > 0 {
		deadline = start.add(timeout)
	}
	w := p.queue.push(start, deadline)
	p.stat.Waited++
	p.grow()
	return w, nil
}

// full reports whether nobody else may wait. Those for whom a worker can still be started don't count. The caller holds
// mu.
func (p *Pool) full() bool {
	if p.config.MaxQueue == 0 || p.config.MaxWorkers == 0 {
		return false
	}
	return p.queue.n >= max(p.config.MaxQueue, 0)+p.config.MaxWorkers-len(p.workers)
}

// expire ends the waits whose time is over.
func (p *Pool) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := now()
	for w := p.queue.expired(at); w != nil; w = p.queue.expired(at) {
		w.ready <- grant{late: true}
	}
	p.queue.rearm()
	p.checkDrained()
}

// await waits for the turn of w. It returns the present time.
func (p *Pool) await(ctx context.Context, w *waiter) (*worker, instant, error) {
	if p.config.Observer != nil {
		return p.awaitObserved(ctx, w)
	}
	return p.stand(ctx, w)
}

// stand is await without an observer.
func (p *Pool) stand(ctx context.Context, w *waiter) (*worker, instant, error) {
	g, cause := w.wait(ctx)
	at := now()
	waited := at.since(w.start)
	p.waits.add(waited)
	if cause != nil && !p.withdraw(w) {
		g, cause = <-w.ready, nil // it was served, or its time was over, at the same moment
	}
	w.recycle()
	if cause != nil || g.late {
		p.mu.Lock()
		defer p.mu.Unlock()
		return nil, at, p.waitError(ctx, cause, at, waited)
	}
	if g.worker != nil {
		g.worker.since.Store(int64(at))
	}
	return g.worker, at, g.err
}

// withdraw takes w out of the queue. If it reports false, w's wait has ended, and ready has how.
func (p *Pool) withdraw(w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	in := p.queue.remove(w)
	p.checkDrained()
	return in
}

// errLate stands for a wait's own timer.
var errLate = errors.New("the wait's time was over")

// wait waits until w's wait ends, or, with its cause, ctx or w's own timer.
func (w *waiter) wait(ctx context.Context) (g grant, cause error) {
	done := ctx.Done()
	if done == nil && !w.own {
		return <-w.ready, nil
	}
	var expired <-chan time.Time
	if w.own {
		expired = w.timer.C
	}
	select {
	case g = <-w.ready:
		return g, nil
	case <-done:
		return g, context.Cause(ctx)
	case <-expired:
		return g, errLate
	}
}

// waitError describes a wait that was in vain. The caller holds mu.
func (p *Pool) waitError(ctx context.Context, cause error, at instant, waited time.Duration) error {
	if err := ctx.Err(); cause != nil && err != nil && !errors.Is(err, context.DeadlineExceeded) {
		p.stat.Canceled++
		return &CanceledError{Pool: p.config.Name, Kept: true, Err: causeOf(ctx)}
	}
	p.stat.Timeouts++
	e := &TimeoutError{Pool: p.config.Name, Waited: waited, Err: p.fails.last}
	for w := range p.workers {
		if w.leased && len(e.Holders) < maxHolders {
			since := instant(w.since.Load())
			if since == 0 {
				since = p.pressed
			}
			e.Holders = append(e.Holders, Holder{Pid: w.pid(), Method: w.running(), For: at.since(since)})
		}
	}
	return e
}

const maxHolders = 32 // in an error

// causeOf returns why ctx ended, in a way that errors.Is finds both the context's error and its cause in.
func causeOf(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return errors.Join(err, cause)
}
