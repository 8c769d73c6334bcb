package main

import (
	"runtime"
	"sync"
	"time"

	"github.com/bullpen-go/bullpen/pool"

	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/bare"
)

// eightAtOnce is about a pool that is asked for all its workers when it has none.
func (p *plan) eightAtOnce() scenario {
	const workers = 8
	n := p.samples(5)
	repeated := func(measure func(path string) (time.Duration, error)) func(string) ([]time.Duration, error) {
		return func(path string) (all []time.Duration, err error) {
			for range n {
				took, err := measure(path)
				if err != nil {
					return nil, err
				}
				all = append(all, took)
			}
			return all, nil
		}
	}
	pooled := repeated(func(path string) (time.Duration, error) { return bullpenAtOnce(path, workers) })
	forked := repeated(func(path string) (time.Duration, error) { return bareAtOnce(path, workers) })
	return scenario{name: eightAtOnce, title: "8 new workers wanted at once, until all have replied", metrics: []metric{p50},
		steps: []step{
			p.starting(nameBullpen, ours, func() ([]time.Duration, error) { return pooled("") }),
			p.starting(bareForkExec, limit, func() ([]time.Duration, error) { return forked("") }),
			p.startingSlim(bullpenSlim, ours, pooled),
			p.startingSlim(bareSlim, limit, forked),
		}}
}

func bullpenAtOnce(path string, workers int) (time.Duration, error) {
	f, err := onDemand(path, workers)
	if err != nil {
		return 0, err
	}
	defer f.close()
	kept := make(chan *pool.Checkout, workers)
	defer runtime.KeepAlive(kept)
	return atOnce(workers, func() error {
		co, _, err := f.firstCall()
		kept <- co
		return err
	})
}

func bareAtOnce(path string, workers int) (time.Duration, error) {
	started := make(chan *bare.Worker, workers)
	defer func() {
		close(started)
		for w := range started {
			w.Close()
		}
	}()
	return atOnce(workers, func() error {
		w, err := bareStart(path)
		if w != nil {
			started <- w
		}
		return err
	})
}

// atOnce runs f n times side by side and returns how long that took.
func atOnce(n int, f func() error) (time.Duration, error) {
	errs := make(chan error, n)
	var wg sync.WaitGroup
	begin := time.Now()
	for range n {
		wg.Go(func() { errs <- f() })
	}
	wg.Wait()
	took := time.Since(begin)
	close(errs)
	for err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return took, nil
}
