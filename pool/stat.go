package pool

import (
	"maps"

	"github.com/bullpen-go/bullpen/internal/scoreboard"
)

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

	// SharedMemory is how many of the workers are talked to through memory that is shared with them: see Config.SharedMemory. Looks
	// is how often the app has looked for a reply there before it went to sleep, and LooksInVain how often it found none.
	SharedMemory       int
	Looks, LooksInVain int64

	// Wait is how long those waited for a worker who came for one: 0 if there was an idle one, and those whose wait ended
	// without one too. Who was refused did not wait.
	Wait Histogram
	// Run is how long handlers ran, as wire.Cost.Run tells it, of all calls that were sent.
	Run Histogram
}

// counters are what Stat counts, in memory that others may look at. The pool's mu guards them.
type counters struct {
	*scoreboard.PoolFigures
	ends map[string]int64
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
		Checkouts:  p.stat.Checkouts,
		Waited:     p.stat.Waited,
		Canceled:   p.stat.Canceled,
		Timeouts:   p.stat.Timeouts,
		Refused:    p.stat.Refused,
		Connects:   p.stat.Connects,
		Failures:   p.stat.Failures,
		Ends:       maps.Clone(p.stat.ends),
		LastError:  p.fails.last,
		Wait:       p.waits.histogram(p.stat.Checkouts - p.stat.Served),
		Run:        p.runs.histogram(0),
	}
	s.SharedMemory, s.Looks, s.LooksInVain = p.lanes()
	return s
}
