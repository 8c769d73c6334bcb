package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/echo"
)

// crowd is a number of workers and of checkouts that wait for them.
type crowd struct {
	workers int
	waiting int
	inUse   int // of the workers; the others are checked out, and idle
}

// The small crowd, and the large one at --scale 1.
var (
	fewWorkers  = crowd{workers: 10, waiting: 100, inUse: 10}
	manyWorkers = crowd{workers: 1000, waiting: 100_000, inUse: 10}
	allWorkers  = crowd{workers: 1000, waiting: 100_000, inUse: 1000}
)

func (c crowd) times(scale float64) crowd {
	all := c.inUse == c.workers
	c.workers = max(int(float64(c.workers)*scale), fewWorkers.workers)
	c.waiting = max(int(float64(c.waiting)*scale), fewWorkers.waiting)
	if all {
		c.inUse = c.workers
	}
	return c
}

// Rows of the scenario.
const (
	crowdFew  = "bullpen, few"
	crowdMany = "bullpen, many, 10 of them in use"
	crowdAll  = "bullpen, many, all in use"
	rawFew    = "raw-recv workers and a channel, few"
	rawMany   = "raw-recv workers and a channel, many, all in use"
	crowdIdle = "bullpen, many, idle"
)

// scaleUp is about many workers and a long queue.
func (p *plan) scaleUp() scenario {
	many, all := manyWorkers.times(p.scale), allWorkers.times(p.scale)
	title := fmt.Sprintf("Checkout and call with few (%d workers, %d waiting) and with many (%d workers, %d waiting)",
		fewWorkers.workers, fewWorkers.waiting, many.workers, many.waiting)
	row := func(name string, k kind, measure func(context.Context, crowd) (values, error), c crowd) step {
		return step{contender: name, kind: k, run: func(ctx context.Context) (values, error) { return measure(ctx, c) }}
	}
	return scenario{name: scaleUp, title: title, metrics: []metric{perCall, cpu, idleCPU, wakeups}, rounds: 3, plain: true, steps: []step{
		row(crowdFew, ours, p.bullpenCrowd, fewWorkers),
		row(crowdMany, ours, p.bullpenCrowd, many),
		row(crowdAll, ours, p.bullpenCrowd, all),
		row(rawFew, limit, p.rawCrowd, fewWorkers),
		row(rawMany, limit, p.rawCrowd, all),
		row(crowdIdle, ours, p.idleCrowd, all),
	}}
}

// bullpenCrowd has as many callers as there are workers in use and checkouts that wait.
func (p *plan) bullpenCrowd(ctx context.Context, c crowd) (values, error) {
	f, err := newBullpen(c.workers)
	if err != nil {
		return nil, err
	}
	defer f.close()
	if err := f.hold(c.workers - c.inUse); err != nil { // until the end
		return nil, err
	}
	call := func() error {
		_, err := echo.String.Call(ctx, f.pool, text)
		return err
	}
	waiting := func() int { return f.pool.Stat().Waiting }
	return p.turnover(ctx, c, call, waiting, f.pids(), func() { f.pool.Close() })
}

// rawCrowd does the same with bare workers and a channel.
func (p *plan) rawCrowd(ctx context.Context, c crowd) (values, error) {
	f, err := startBare(rawSpec, c.workers)
	if err != nil {
		return nil, err
	}
	defer f.close()
	var stopped atomic.Bool
	call := func() error {
		w := <-f.free
		var err error
		if !stopped.Load() {
			_, err = w.Echo(text)
		}
		f.free <- w
		return err
	}
	return p.turnover(ctx, c, call, nil, f.pids(), func() { stopped.Store(true) })
}

// turnover measures what a call takes when that many callers want workers. waiting tells how many wait; where nobody
// can tell, each caller having called once shows that all are there. end has the calls that wait end soon.
func (p *plan) turnover(ctx context.Context, c crowd, call func() error, waiting func() int, pids []int, end func()) (values, error) {
	t := &turnstile{calls: make([]atomic.Int64, c.inUse+c.waiting)}
	var wg sync.WaitGroup
	for i := range t.calls {
		wg.Go(func() { t.run(i, call) })
	}
	defer wg.Wait()
	defer end()
	defer t.stop.Store(true)
	if err := t.settle(ctx, c, waiting); err != nil {
		return nil, err
	}
	used := newCPUMeter(pids)
	begin, first := time.Now(), t.total()
	select {
	case <-time.After(max(p.duration, time.Second)):
	case <-ctx.Done():
	}
	n := float64(t.total() - first)
	took := time.Since(begin)
	spent, err := used.spent()
	if err == nil {
		err = t.err()
	}
	return values{perCall: float64(took) / 1e3 / n, cpu: float64(spent) / 1e3 / n}, err
}

// turnstile counts the calls of many goroutines.
type turnstile struct {
	calls  []atomic.Int64 // of each
	stop   atomic.Bool
	failed atomic.Pointer[error]
}

func (t *turnstile) run(i int, call func() error) {
	for !t.stop.Load() {
		if err := call(); err != nil {
			if !t.stop.Load() {
				t.failed.Store(&err)
			}
			return
		}
		t.calls[i].Add(1)
	}
}

func (t *turnstile) total() (n int64) {
	for i := range t.calls {
		n += t.calls[i].Load()
	}
	return n
}

func (t *turnstile) err() error {
	if err := t.failed.Load(); err != nil {
		return *err
	}
	return nil
}

const settleWithin = 60 * time.Second

// settle waits until all callers are there.
func (t *turnstile) settle(ctx context.Context, c crowd, waiting func() int) error {
	there := func() bool { return t.total() >= int64(len(t.calls)) }
	if waiting != nil {
		there = func() bool { return waiting() >= c.waiting*9/10 && t.total() >= int64(10*c.inUse) }
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(settleWithin)
	for !there() {
		select {
		case <-tick.C:
		case <-late:
			return fmt.Errorf("%d callers were not all there after %v", len(t.calls), settleWithin)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := t.err(); err != nil {
			return err
		}
	}
	return nil
}

// idleCrowd measures what many workers take that do nothing.
func (p *plan) idleCrowd(ctx context.Context, c crowd) (values, error) {
	f, err := newBullpen(c.workers)
	if err != nil {
		return nil, err
	}
	defer f.close()
	if _, err := f.firstCalls(c.workers, noPause); err != nil {
		return nil, err
	}
	f.release()
	return p.idle(f.pids())
}

// idle measures what processes take that have nothing to do any more.
func (p *plan) idle(pids []int) (values, error) {
	debug.FreeOSMemory()    // what was measured before has left some; Go would give it back little by little
	time.Sleep(time.Second) // what was done has to come to rest
	asleep, err := switches(pids)
	if err != nil {
		return nil, err
	}
	used := newCPUMeter(pids)
	begin := time.Now()
	time.Sleep(max(p.duration, 2*time.Second)) // what it takes meanwhile is measured
	took := time.Since(begin).Seconds()
	spent, err := used.spent()
	if err != nil {
		return nil, err
	}
	woken, err := switches(pids)
	return values{idleCPU: float64(spent) / 1e6 / took, wakeups: (woken - asleep) / took}, err
}
