package pool

import (
	"context"
)

// Close is the end, now: who waits gets ErrClosed, calls that run end with ErrClosed and their workers are killed,
// idle workers end. It returns when all goroutines of the pool have. A second Close waits for the first. The server is not the
// pool's; close it before or after.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	for w := p.queue.pop(); w != nil; w = p.queue.pop() {
		w.ready <- grant{err: ErrClosed}
	}
	var busy, idle []*worker
	for w := range p.workers {
		if w.since.IsZero() {
			p.drop(w, endClosed)
			idle = append(idle, w)
		} else {
			busy = append(busy, w)
		}
	}
	if p.idleTimer != nil {
		p.idleTimer.Stop()
	}
	p.checkDrained()
	p.mu.Unlock()
	p.cancel()
	for _, w := range idle {
		w.close()
	}
	for _, w := range busy {
		w.kill("its pool was closed")
	}
	p.work.Wait()
	return nil
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
		busy = busy || !w.since.IsZero()
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
