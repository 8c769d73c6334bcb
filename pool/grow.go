package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// retry slows the pool's tries to connect while they fail.
type retry struct {
	last   error         // of the last try; nil after a success
	gone   bool          // the dialer has said that the server won't come back: only who asks for a worker causes a try
	delay  time.Duration // of the last pause; 0 after a call was served
	paused bool          // until a timer has grow called
}

const (
	retryFirst = 200 * time.Millisecond
	retryMax   = time.Second
)

// grow starts as many connections as there are waiters, and as MinWorkers asks for, up to MaxWorkers. The caller holds
// mu.
func (p *Pool) grow() {
	if p.closed || p.fails.paused {
		return
	}
	have := len(p.workers) + p.connecting
	want := max(p.queue.n-p.connecting, 0) + have
	if !p.fails.gone {
		want = max(want, p.config.MinWorkers)
	}
	if p.shutting { // only for those who wait still
		want = min(want, have+max(p.queue.n-p.connecting, 0))
	}
	if limit := p.config.MaxWorkers; limit > 0 {
		want = min(want, limit)
	}
	if p.fails.last != nil { // one try at a time shows whether the cause has gone
		want = min(want, len(p.workers)+1)
	}
	for ; have < want; have++ {
		p.connecting++
		p.stat.Connecting++
		p.work.Add(1)
		go p.connect(nil)
	}
}

// connect makes a worker. leaving, if not nil, is the one that it replaces, which ends only then.
func (p *Pool) connect(leaving *worker) {
	defer p.work.Done()
	w, err := p.dial()
	p.mu.Lock()
	p.connecting--
	p.stat.Connecting--
	if leaving != nil {
		p.leaving--
	}
	switch {
	case err != nil:
		p.failed(err)
	case p.closed:
		err = ErrClosed
	default:
		p.fails.last, p.fails.gone = nil, false // the delay stays until a worker has served a call
		p.workers[w] = struct{}{}
		p.stat.Total = int64(len(p.workers))
		p.stat.Connects++
		p.noteConnected(w)
		w.leased = true // until it is delivered
		p.deliver(w)
		p.grow()
	}
	p.mu.Unlock()
	if err != nil && w != nil {
		w.close()
	}
	if leaving != nil {
		leaving.close()
	}
	if err == nil {
		w.watchEnd()
	}
}

// failed notes that a try to connect has failed. The caller holds mu.
//
// A server that isn't there yet fails nobody: who waits keeps the place until the own deadline. A worker that was
// started and could not be set up fails the first who waits, if no other worker could serve him. A server that has gone
// for good fails all.
func (p *Pool) failed(err error) {
	p.stat.Failures++
	p.fails.last = err
	if p.closed {
		return
	}
	var setup *wire.SetupError
	var died *WorkerDiedError
	p.fails.gone = errors.Is(err, wire.ErrServerGone)
	switch {
	case p.fails.gone:
		for w := p.queue.pop(); w != nil; w = p.queue.pop() {
			w.ready <- grant{err: fmt.Errorf("pool %q: %w", p.config.Name, err)}
		}
	case errors.As(err, &setup) || errors.As(err, &died) && died.Exit.Reason != wire.ExitServerDied && died.Exit.Reason != wire.ExitShutdown:
		p.config.Logger.Warn("a worker could not be set up", "pool", p.config.Name, "error", err)
		if len(p.workers) == 0 {
			if w := p.queue.pop(); w != nil {
				w.ready <- grant{err: err}
			}
		}
	default:
		p.config.Logger.Debug("the server can't be reached", "pool", p.config.Name, "error", err)
	}
	p.checkDrained()
	if p.fails.paused || p.fails.gone {
		return
	}
	p.fails.delay = min(max(2*p.fails.delay, retryFirst), retryMax)
	p.fails.paused = true
	time.AfterFunc(p.fails.delay, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.fails.paused = false
		p.grow()
	})
}

// dial has a worker made that is ready to be used. If the first one dies on the way, and that says nothing about the
// next one, it has another one made.
func (p *Pool) dial() (*worker, error) {
	w, err := p.dialOnce()
	var died *WorkerDiedError
	if errors.As(err, &died) && diedByChance(died.Exit) {
		p.config.Logger.Debug("a worker ended before it was ready, another one is made", "pool", p.config.Name, "error", err)
		return p.dialOnce()
	}
	return w, err
}

// diedByChance reports whether a worker that has not said hello ended for a reason that has nothing to do with its
// Setup. If its server is closing, the dialer, asked again, tells whether there is another server.
func diedByChance(e *wire.Exit) bool {
	switch e.Reason {
	case wire.ExitShutdown:
		return true
	case wire.ExitKilled: // such a signal reaches a worker that has just begun too: it can't catch it yet
		switch syscall.Signal(e.Signal) {
		case syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP:
			return true
		}
	case wire.ExitExited, wire.ExitCrashed:
		return e.Standby // its Setup has run
	}
	return false
}

// dialOnce connects, and exchanges hellos.
func (p *Pool) dialOnce() (*worker, error) {
	ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
	defer cancel()
	nc, err := dialWire(ctx, p.dialer, p.config.Wire)
	if err != nil {
		return nil, err
	}
	w := newWorker(p, nc)
	stop := context.AfterFunc(p.ctx, func() { nc.Close() }) // a worker may take its time to set up
	defer stop()
	if err = w.hail(); err == nil {
		err = w.meet()
	}
	if err != nil {
		err = w.notReady(err)
		w.close()
		return nil, err
	}
	return w, nil
}

// spare takes a worker that the dialer has ready, if it has one and the pool may have one more; nil otherwise. Nothing is
// sent to it yet, and nothing waited for: the first call goes out with the hello, before the worker's own hello is read. That
// saves a round trip, and the way to a goroutine that connects. Should the worker die before it says hello, it has provably
// not read the call. An observer wants to know first whom it hears of. The caller holds mu.
func (p *Pool) spare() *worker {
	d, ok := p.dialer.(interface{ Spare() (net.Conn, int64) })
	limit := p.config.MaxWorkers
	switch {
	case !ok || p.closed || p.shutting || p.config.Wire != wire.Binary || p.config.Observer != nil:
		return nil
	case p.queue.n > 0 || p.fails.last != nil || limit > 0 && len(p.workers)+p.connecting >= limit:
		return nil
	}
	nc, maxMessage := d.Spare()
	if nc == nil {
		return nil
	}
	w := newWorker(p, nc)
	w.silent, w.unmet = true, true
	w.conn.SetMaxOut(maxMessage)
	p.workers[w] = struct{}{}
	p.stat.Total = int64(len(p.workers))
	p.stat.Connects++
	p.lease(w)
	w.watchEnd()
	return w
}

// replace ends a worker that has had its checkouts. Its replacement comes first, if one is needed and no more than one
// worker above MaxWorkers is alive for it.
func (p *Pool) replace(w *worker) {
	p.mu.Lock()
	p.drop(w, endCheckouts)
	needed := p.queue.n > p.connecting || len(p.workers)+p.connecting < p.config.MinWorkers
	if !needed || p.closed || p.fails.paused || p.leaving > 0 {
		p.grow()
		p.checkDrained()
		closed := p.closed
		if !closed {
			p.work.Add(1)
		}
		p.mu.Unlock()
		if closed {
			w.close()
			return
		}
		go func() { // whoever made the worker's last call has its reply, and need not wait
			defer p.work.Done()
			w.close()
		}()
		return
	}
	p.leaving++
	p.connecting++
	p.stat.Connecting++
	p.work.Add(1)
	p.checkDrained()
	p.mu.Unlock()
	go p.connect(w)
}

// armIdleTimer has workers above MinWorkers looked after. The caller holds mu.
func (p *Pool) armIdleTimer() {
	d := p.config.IdleTimeout
	if d == 0 || len(p.workers) <= p.config.MinWorkers || p.idleTimer != nil || p.closed {
		return
	}
	p.idleTimer = time.AfterFunc(d, p.shrink)
}

// shrink retires workers that were idle for IdleTimeout, down to MinWorkers: those that have been idle longest, which
// lie at the bottom of the stack.
func (p *Pool) shrink() {
	p.mu.Lock()
	p.idleTimer = nil
	at := now()
	var old []*worker
	for len(p.idle) > 0 && len(p.workers) > p.config.MinWorkers {
		w := p.idle[0]
		if w.idleAt == 0 { // since there were more than MinWorkers, or longer
			w.idleAt = at
		}
		if at.since(w.idleAt) < p.config.IdleTimeout {
			break
		}
		p.drop(w, endIdle)
		old = append(old, w)
	}
	if len(p.idle) > 0 && len(p.workers) > p.config.MinWorkers && !p.closed {
		p.idleTimer = time.AfterFunc(p.config.IdleTimeout-at.since(p.idle[0].idleAt), p.shrink)
	}
	p.mu.Unlock()
	for _, w := range old {
		w.close()
	}
}
