// Package pool hands out worker processes, first come first served.
//
// A pool keeps connections to workers, one worker a connection. A method's Call on a pool is checkout, call and
// release; a Checkout holds one worker for several calls:
//
//	workers, err := pool.New(srv, pool.Config{MaxWorkers: 4})
//	...
//	crypted, err := hash.Call(ctx, workers, "secret")
//
//	co, err := workers.Checkout(ctx)
//	...
//	defer co.Release()
//	ok, err := verify.Call(ctx, co, crypted, "secret")
//
// A worker that dies costs the call that ran on it, and no other; the pool replaces it.
package pool

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/wire"
)

// Pool is a pool of workers. It may be used by any number of goroutines.
type Pool struct {
	config Config
	dialer Dialer
	own    View // the pool's own settings

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // goroutines that connect or settle; added to under mu, and not once closed is set

	waits *durations // of those who were in the queue
	runs  *durations

	// mu guards all below. Nothing that can block is done under it.
	mu          sync.Mutex
	workers     map[*worker]struct{} // all but those that are leaving
	idle        []*worker            // a stack, so that those not needed stay idle; while it isn't empty nobody waits
	queue       queue
	connecting  int
	leaving     int // retired by MaxCheckouts, kept until their replacements are ready
	fails       retry
	idleTimer   *time.Timer
	pressed     instant // when the queue was last empty before somebody came
	closed      bool
	shutting    bool
	drained     chan struct{} // closed when nothing is checked out or the pool is closed, if Shutdown waits
	stat        counters
	formerLanes laneTotals
	page        *scoreboard.Published // where stat lies

	calling atomic.Int32 // calls that run in workers with a lane

	notices notices // guards itself
}

// New makes a pool. It returns at once: MinWorkers are connected in the background, and the server need not be up yet.
// The error is about the config.
func New(d Dialer, c Config) (*Pool, error) {
	if d == nil {
		return nil, errors.New("bullpen: pool.New without a dialer: pass what forkserver.Start returned, or pool.Unix(path)")
	}
	if c.Wire != wire.Binary && c.Wire != wire.JSON {
		return nil, errors.New("bullpen: pool.Config.Wire is neither wire.Binary nor wire.JSON")
	}
	p := &Pool{config: c.withDefaults(d), dialer: d, workers: map[*worker]struct{}{}}
	p.own = View{p, settings{timeout: p.config.Timeout, logger: p.config.Logger, measure: p.config.Measure}}
	p.page = scoreboard.Publish(p.config.Name)
	p.stat.PoolFigures = &p.page.PoolFigures
	p.stat.Max = int64(p.config.MaxWorkers)
	p.queue.waiting = &p.stat.Waiting
	p.waits, p.runs = (*durations)(&p.page.Wait), (*durations)(&p.page.Run)
	p.queue.expire = p.expire
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grow()
	return p, nil
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.config.Name }

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
	p.queue.armed = 0
	p.queue.arm()
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
	p.waits.add(at.since(w.start))
	if cause != nil || g.late {
		p.mu.Lock()
		if g.late || p.queue.remove(w) {
			err := p.waitError(ctx, cause, at, at.since(w.start))
			p.checkDrained()
			p.mu.Unlock()
			w.recycle()
			return nil, at, err
		}
		p.mu.Unlock()
		g = <-w.ready // it was served at the same moment
	}
	w.recycle()
	if g.worker != nil {
		g.worker.since.Store(int64(at))
	}
	return g.worker, at, g.err
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
