package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/puddle/v2"
)

// Rows of the scenarios.
const (
	namePuddle  = "puddle"
	nameHandOff = "mutex and hand-off, in order of arrival"
	nameChannel = "buffered channel"
)

// checkout is about a checkout and its release, and no call between them.
func (p *plan) checkout() scenario {
	return p.checkouts(checkoutOne, "Checkout and release, one goroutine", 1, 1)
}

func (p *plan) checkoutMany() scenario {
	return p.checkouts(checkoutMany, "Checkout and release, 64 goroutines on 8 workers", 8, 64)
}

func (p *plan) checkouts(name, title string, workers, goroutines int) scenario {
	row := func(name string, k kind, make func(int) (func() error, func(), error)) step {
		return step{contender: name, kind: k, run: func(context.Context) (values, error) {
			once, end, err := make(workers)
			if err != nil {
				return nil, err
			}
			defer end()
			return p.perOperation(goroutines, once)
		}}
	}
	return scenario{name: name, title: title, metrics: []metric{perOp}, steps: []step{
		row(nameBullpen, ours, bullpenCheckouts),
		row(namePuddle, peer, puddleCheckouts),
		row(nameHandOff, limit, handOffCheckouts),
		row(nameChannel, limit, channelCheckouts),
	}}
}

func bullpenCheckouts(workers int) (once func() error, end func(), err error) {
	f, err := newBullpen(workers)
	if err != nil {
		return nil, nil, err
	}
	ctx := context.Background()
	return func() error {
		co, err := f.pool.Checkout(ctx)
		if err == nil {
			co.Release()
		}
		return err
	}, f.close, nil
}

func puddleCheckouts(workers int) (once func() error, end func(), err error) {
	p, err := puddle.NewPool(&puddle.Config[int]{
		Constructor: func(context.Context) (int, error) { return 0, nil },
		Destructor:  func(int) {},
		MaxSize:     int32(workers),
	})
	if err != nil {
		return nil, nil, err
	}
	ctx := context.Background()
	return func() error {
		res, err := p.Acquire(ctx)
		if err == nil {
			res.Release()
		}
		return err
	}, p.Close, nil
}

func channelCheckouts(workers int) (once func() error, end func(), err error) {
	free := make(chan int, workers)
	for i := range workers {
		free <- i
	}
	return func() error {
		free <- <-free
		return nil
	}, func() {}, nil
}

// handOff is the least that keeps the order of arrival: who finds nothing queues, and is handed what is given back next. A
// channel doesn't keep it among goroutines that have to wait for a core.
type handOff struct {
	mu    sync.Mutex // guards all below
	free  []int
	queue []chan int
}

func handOffCheckouts(workers int) (once func() error, end func(), err error) {
	h := &handOff{}
	for i := range workers {
		h.free = append(h.free, i)
	}
	waiters := sync.Pool{New: func() any { return make(chan int, 1) }}
	return func() error {
		h.mu.Lock()
		if n := len(h.free); n > 0 {
			i := h.free[n-1]
			h.free = h.free[:n-1]
			h.mu.Unlock()
			h.put(i)
			return nil
		}
		w := waiters.Get().(chan int)
		h.queue = append(h.queue, w)
		h.mu.Unlock()
		i := <-w
		waiters.Put(w)
		h.put(i)
		return nil
	}, func() {}, nil
}

func (h *handOff) put(i int) {
	h.mu.Lock()
	if len(h.queue) == 0 {
		h.free = append(h.free, i)
		h.mu.Unlock()
		return
	}
	first := h.queue[0]
	h.queue = h.queue[1:]
	h.mu.Unlock()
	first <- i
}

// perOperation runs once in that many goroutines for the plan's duration, and returns the time that each took.
func (p *plan) perOperation(goroutines int, once func() error) (values, error) {
	const batch = 100 // operations between two looks at the clock
	var done atomic.Int64
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	begin := time.Now()
	for g := range goroutines {
		wg.Go(func() {
			for time.Since(begin) < p.duration {
				for range batch {
					if err := once(); err != nil {
						errs[g] = err
						return
					}
				}
				done.Add(batch)
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return values{perOp: float64(took) / float64(done.Load())}, nil
}
