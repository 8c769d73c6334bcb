package pool

import "maps"

// Stat is a snapshot of a pool, taken by Pool.Stat.
type Stat struct {
	MaxWorkers int // 0: no limit
	Total      int // workers that are connected and set up: Idle + Acquired
	Idle       int
	Acquired   int // checked out, or in their CheckoutDone hook
	Connecting int // on their way
	Waiting    int // checkouts in the queue

	Checkouts int64 // that got a worker so far
	Waited    int64 // that had to wait
	Canceled  int64 // waits that ended with their context
	Timeouts  int64 // waits that ended with Timeout, or a context's deadline
	Refused   int64 // with ErrQueueFull
	Connects  int64 // workers that were had so far
	Failures  int64 // tries to have one that failed
	// Ends counts the workers that the pool has let go, by reason: "error", "panic", "max checkouts", "idle",
	// "recalled", "died", "timeout", "canceled", "aborted", "closed" and others that name themselves.
	Ends map[string]int64
	// LastError is why the last try to have a worker failed; nil after a success.
	LastError error

	// Wait is how long those waited for a worker who came for one: 0 if there was an idle one, and those whose wait ended
	// without one too. Who was refused did not wait.
	Wait Histogram
	// Run is how long handlers ran, as wire.Cost.Run tells it, of all calls that were sent.
	Run Histogram
}

// counters are what Stat counts. The pool's mu guards them.
type counters struct {
	checkouts, waited, canceled, timeouts, refused, connects, failures int64
	served                                                             int64 // of waited, those that got a worker
	ends                                                               map[string]int64
}

func (c *counters) end(reason string) {
	if c.ends == nil {
		c.ends = map[string]int64{}
	}
	c.ends[reason]++
}

// Stat returns figures of now. It may be called after Close.
func (p *Pool) Stat() *Stat {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &Stat{
		MaxWorkers: p.config.MaxWorkers,
		Total:      len(p.workers),
		Idle:       len(p.idle),
		Acquired:   len(p.workers) - len(p.idle),
		Connecting: p.connecting,
		Waiting:    p.queue.n,
		Checkouts:  p.stat.checkouts,
		Waited:     p.stat.waited,
		Canceled:   p.stat.canceled,
		Timeouts:   p.stat.timeouts,
		Refused:    p.stat.refused,
		Connects:   p.stat.connects,
		Failures:   p.stat.failures,
		Ends:       maps.Clone(p.stat.ends),
		LastError:  p.fails.last,
		Wait:       p.waits.histogram(p.stat.checkouts - p.stat.served),
		Run:        p.runs.histogram(0),
	}
	return s
}
