package main

import (
	"context"
	"runtime"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"

	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/echo"
)

// Rows of the scenario.
const (
	allocHeld   = "bullpen, one caller, held checkout"
	allocPool   = "bullpen, one caller, checkout for each call"
	allocMany   = "bullpen, 64 callers on 8 workers"
	allocQueued = "bullpen, 1,000 callers on 8 workers"
	allocFleet  = "bullpen, 64 callers on 40 workers"
)

// allocations is about how many objects a call allocates.
func (p *plan) allocations() scenario {
	row := func(name string, workers, callers int, held bool) step {
		return step{contender: name, kind: ours, run: func(ctx context.Context) (values, error) {
			return countAllocs(ctx, workers, callers, p.samples(20000), held)
		}}
	}
	return scenario{name: allocations, title: "Objects allocated by a call (string echo)", metrics: []metric{allocBoth, allocApp, allocWork},
		rounds: 3, plain: true, steps: []step{
			row(allocHeld, 1, 1, true),
			row(allocPool, 1, 1, false),
			row(allocMany, 8, 64, false),
			row(allocQueued, 8, 1000, false),
			row(allocFleet, 40, 64, false),
		}}
}

// countAllocs makes n calls and returns what each has allocated on either side.
func countAllocs(ctx context.Context, workers, callers, n int, held bool) (values, error) {
	f, err := newBullpen(workers)
	if err != nil {
		return nil, err
	}
	defer f.close()
	each := max(n/callers, 50) // so that what a goroutine takes does not count
	var target wire.Caller = f.pool
	if held {
		co, err := f.pool.Checkout(ctx)
		if err != nil {
			return nil, err
		}
		defer co.Release()
		target = co
	}
	calls := func() error {
		for range each {
			if _, err := echo.String.Call(ctx, target, text); err != nil {
				return err
			}
		}
		return nil
	}
	if _, err := atOnce(callers, calls); err != nil { // warm up
		return nil, err
	}
	workersBefore, err := f.mallocs(ctx, target)
	if err != nil {
		return nil, err
	}
	before := mallocs()
	if _, err := atOnce(callers, calls); err != nil {
		return nil, err
	}
	inApp := mallocs() - before
	workersAfter, err := f.mallocs(ctx, target)
	if err != nil {
		return nil, err
	}
	total := float64(each * callers)
	app, work := float64(inApp)/total, float64(workersAfter-workersBefore)/total
	return values{allocApp: app, allocWork: work, allocBoth: app + work}, nil
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// mallocs returns how much all workers have allocated so far. held is a checkout, if one holds the only worker.
func (f *bullpenFleet) mallocs(ctx context.Context, held wire.Caller) (sum uint64, err error) {
	if _, ok := held.(*pool.Checkout); ok {
		return echo.Mallocs.Call(ctx, held)
	}
	defer f.release()
	if err := f.hold(len(f.workers)); err != nil {
		return 0, err
	}
	for _, co := range f.held {
		n, err := echo.Mallocs.Call(ctx, co)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
