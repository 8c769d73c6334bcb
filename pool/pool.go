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
	crowded atomic.Bool  // whoever comes will most likely have to wait; changed under mu

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
