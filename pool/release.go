package pool

import (
	"slices"
)

// put takes a worker back: to the first who waits, or to the idle ones.
func (p *Pool) put(w *worker) {
	p.mu.Lock()
	reason := w.recalled
	if p.closed {
		reason = endClosed
	}
	if p.fails.delay != 0 && w.served.Load() {
		p.fails.delay = 0
	}
	var first *waiter
	if reason == "" {
		first = p.assign(w)
	}
	p.mu.Unlock()
	switch {
	case reason != "":
		p.discard(w, reason)
	case first != nil:
		first.ready <- grant{worker: w}
	}
}

// deliver gives a free worker to the first who waits, or makes it idle. The caller holds mu.
func (p *Pool) deliver(w *worker) {
	if first := p.assign(w); first != nil {
		first.ready <- grant{worker: w}
	}
}

// assign leases a free worker to the first who waits, who is returned and has to be told, or makes it idle. The caller
// holds mu.
func (p *Pool) assign(w *worker) *waiter {
	if first := p.queue.pop(); first != nil {
		p.lease(w)
		p.stat.Served++
		return first
	}
	w.leased = false
	w.idleAt = 0
	if len(p.workers) > p.config.MinWorkers || w.life == nil { // only then somebody wants to know
		w.idleAt = now()
	}
	p.idle = append(p.idle, w)
	p.stat.Idle++
	p.armIdleTimer()
	p.checkDrained()
	return nil
}

// lease begins a checkout of w. The caller holds mu.
func (p *Pool) lease(w *worker) {
	w.leased = true
	if w.since.Load() != 0 {
		w.since.Store(0)
	}
	w.checkouts++
	w.failed = false
	p.stat.Checkouts++
}

// discard ends a worker for the given reason, and replaces it if it is needed.
func (p *Pool) discard(w *worker, reason string) {
	p.expel(w, reason)
	w.close()
}

// expel takes a worker that is dead, or about to be, out of the pool, and replaces it if it is needed. Somebody may
// still hold it.
func (p *Pool) expel(w *worker, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(w, reason)
	p.grow()
	p.checkDrained()
}

// drop forgets a worker, and counts it with its first reason, if one is given. The caller holds mu.
func (p *Pool) drop(w *worker, reason string) {
	delete(p.workers, w)
	p.stat.Total = int64(len(p.workers))
	if w.served.Load() {
		p.fails.delay = 0
	}
	if i := slices.Index(p.idle, w); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
		p.stat.Idle--
	}
	if end := w.laneState.end.Load(); end != nil && !w.summed {
		w.summed = true
		c := end.Counters()
		p.formerLanes.hits += c.Hits
		p.formerLanes.misses += c.Misses
	}
	if !w.counted && reason != "" {
		w.counted = true
		p.stat.end(reason)
		p.noteEnded(w, reason)
	}
}

// release takes a worker back after a checkout, and retires it if it has to go.
func (p *Pool) release(w *worker) {
	if w.observed != nil {
		p.releaseObserved(w)
		return
	}
	if w.tell() {
		p.settle(w)
		return
	}
	p.sort(w)
}

// sort retires a released worker if it has to go, and has it back otherwise.
func (p *Pool) sort(w *worker) {
	switch reason := w.spent(); reason {
	case "":
		p.put(w)
	case endCheckouts:
		p.replace(w)
	default:
		p.discard(w, reason)
	}
}

// Why the pool ended a worker, as Stat counts it.
const (
	endError     = "error"
	endSetup     = "setup failed"
	endPanic     = "panic"
	endCheckouts = "max checkouts"
	endIdle      = "idle"
	endRecalled  = "recalled"
	endClosed    = "closed"
	endDied      = "died"
	endTimeout   = "timeout"
	endCanceled  = "canceled"
	endAborted   = "aborted"
	endReleased  = "released during a call"
	endLost      = "checkout lost"
	endHook      = "checkout done failed"
	endProtocol  = "protocol violation"
	endCaller    = "the caller panicked"
)
