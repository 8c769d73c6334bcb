package main

import (
	"context"
	"fmt"
	"time"

	"github.com/bullpen-go/bullpen/pool"

	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/bare"
	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/echo"
	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/pauses"
)

// pauses is about what else runs in a worker under traffic: the garbage collector and timers. One worker is probed,
// however many there are.
func (p *plan) pauses(name string, callers int) scenario {
	l := load{workers: callers, callers: callers, held: callers == 1, duration: max(p.duration, 300*time.Millisecond)}
	title := "The garbage collector and time.Sleep in a worker, one caller on one worker"
	if callers > 1 {
		title = fmt.Sprintf("The same, %d callers on %d workers", callers, callers)
	}
	row := func(name string, spec bare.Spec) step {
		return step{contender: name, kind: limit, run: func(context.Context) (values, error) { return barePauses(spec, l) }}
	}
	return scenario{name: name, title: title, metrics: []metric{gcMedian, gcWorst, timeMedian, timeWorst, rate},
		steps: []step{
			{contender: nameBullpen, kind: ours, run: func(ctx context.Context) (values, error) { return bullpenPauses(ctx, l, pool.Config{}) }},
			{contender: nameSocket, kind: ours, run: func(ctx context.Context) (values, error) {
				return bullpenPauses(ctx, l, pool.Config{SharedMemory: -1})
			}},
			row(nameBlocking, blockingSpec),
			row(namePoller, pollerSpec),
			row(nameRaw, rawSpec),
		}}
}

func bullpenPauses(ctx context.Context, l load, c pool.Config) (values, error) {
	f, err := newFleet(l.workers, c)
	if err != nil {
		return nil, err
	}
	defer f.close()
	probed := f.workers[0]
	err = f.on(probed, func(co *pool.Checkout) error {
		_, err := echo.BeginPauses.Call(ctx, co)
		return err
	})
	if err != nil {
		return nil, err
	}
	v, err := drive(f, l)
	if err != nil {
		return nil, err
	}
	var r pauses.Report
	err = f.on(probed, func(co *pool.Checkout) error {
		r, err = echo.EndPauses.Call(ctx, co)
		return err
	})
	return withReport(v, r), err
}

// on runs g with a checkout of the worker with the given pid.
func (f *bullpenFleet) on(pid int, g func(*pool.Checkout) error) error {
	defer f.release()
	if err := f.hold(len(f.workers)); err != nil {
		return err
	}
	for _, co := range f.held {
		if co.Pid() == pid {
			return g(co)
		}
	}
	return fmt.Errorf("worker %d is gone", pid)
}

func barePauses(spec bare.Spec, l load) (values, error) {
	f, err := startBare(spec, l.workers)
	if err != nil {
		return nil, err
	}
	defer f.close()
	probed := f.workers[0]
	if err := probed.BeginPauses(); err != nil {
		return nil, err
	}
	v, err := drive(f, l)
	if err != nil {
		return nil, err
	}
	r, err := probed.EndPauses()
	return withReport(v, r), err
}

func withReport(v values, r pauses.Report) values {
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	v[gcMedian], v[gcWorst] = ms(r.GCMedian), ms(r.GCWorst)
	v[timeMedian], v[timeWorst] = ms(r.TimerMedian), ms(r.TimerWorst)
	return v
}
