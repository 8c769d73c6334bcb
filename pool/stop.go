package pool

import (
	"context"
	"sync"
	"time"
)

// Close is the end, now: who waits gets ErrClosed, and so do calls that run. Their handlers' contexts end, and workers
// whose handlers don't return within the server's CancelGrace are killed. Idle workers end by themselves. Close returns
// when all goroutines of the pool have; a second one waits for the first. The server is not the pool's; close it before
// or after.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	for w := p.queue.pop(); w != nil; w = p.queue.pop() {
		w.ready <- grant{err: ErrClosed}
	}
	var busy, idle []*worker
	for w := range p.workers {
		if !w.leased {
			p.drop(w, endClosed)
			idle = append(idle, w)
		} else {
			busy = append(busy, w)
		}
	}
	if p.idleTimer != nil {
		p.idleTimer.Stop()
	}
	if p.queue.timer != nil {
		p.queue.timer.Stop()
	}
	p.checkDrained()
	p.mu.Unlock()
	p.cancel()
	for _, w := range idle {
		w.close()
	}
	for _, w := range busy {
		w.nc.Close() // which the worker takes for a cancellation
	}
	var ends sync.WaitGroup
	for _, w := range busy {
		ends.Go(w.outlast)
	}
	ends.Wait()
	p.work.Wait()
	p.notices.wait()
	p.page.Close()
	return nil
}

// outlast waits for the end of a worker whose connection was closed, and helps after its grace.
func (w *worker) outlast() {
	if w.life == nil {
		return
	}
	hello := w.hello.Load()
	grace := hello.Grace
	if hello == &noHello { // it has not told, or its wire doesn't
		grace = exitWait
	}
	for _, d := range []time.Duration{grace + graceSlack, exitMax} {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		e := w.life.Exit(ctx)
		cancel()
		if e != nil {
			return
		}
		w.life.Kill("its pool was closed")
	}
}

// Shutdown takes no more checkouts, lets those that wait and those that are out come to their end, and closes the pool.
// When ctx ends first it closes the pool all the same and returns the context's error.
func (p *Pool) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	p.shutting = true
	if p.drained == nil {
		p.drained = make(chan struct{})
	}
	drained := p.drained
	p.checkDrained()
	p.mu.Unlock()
	select {
	case <-drained:
		return p.Close()
	case <-ctx.Done():
		p.Close()
		return context.Cause(ctx)
	}
}

// checkDrained tells Shutdown that nobody waits and nothing is out, or that somebody has called Close. The caller holds
// mu.
func (p *Pool) checkDrained() {
	if p.drained == nil {
		return
	}
	busy := p.queue.n > 0
	for w := range p.workers {
		busy = busy || w.leased
	}
	if busy && !p.closed {
		return
	}
	select {
	case <-p.drained:
	default:
		close(p.drained)
	}
}
