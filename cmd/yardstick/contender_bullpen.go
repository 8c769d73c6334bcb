package main

import (
	"context"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"

	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/echo"
)

// bullpenFleet is a server and a pool, with default settings but for the number of workers.
type bullpenFleet struct {
	srv     *forkserver.Process
	pool    *pool.Pool
	workers []int // pids
	// held are checkouts that nobody releases: a checkout that is dropped is found, and its worker reclaimed.
	held []*pool.Checkout
}

func startBullpen(workers int) (fleet, error) { return newBullpen(workers) }

// startSocket is startBullpen without shared memory.
func startSocket(workers int) (fleet, error) {
	return newFleet(workers, pool.Config{SharedMemory: -1})
}

// newBullpen starts a pool of that many workers and waits until all are there.
func newBullpen(workers int) (*bullpenFleet, error) { return newFleet(workers, pool.Config{}) }

func newFleet(workers int, c pool.Config) (*bullpenFleet, error) {
	srv, err := forkserver.Start(context.Background(), echo.Service, forkserver.Config{})
	if err != nil {
		return nil, err
	}
	f := &bullpenFleet{srv: srv}
	c.MinWorkers, c.MaxWorkers = workers, workers
	if f.pool, err = pool.New(srv, c); err != nil {
		srv.Close()
		return nil, err
	}
	err = f.hold(workers)
	for _, co := range f.held {
		f.workers = append(f.workers, co.Pid())
	}
	f.release()
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// hold checks n workers out, until release.
func (f *bullpenFleet) hold(n int) error {
	for range n {
		co, err := f.pool.Checkout(context.Background())
		if err != nil {
			return err
		}
		f.held = append(f.held, co)
	}
	return nil
}

func (f *bullpenFleet) release() {
	for _, co := range f.held {
		co.Release()
	}
	f.held = nil
}

func (f *bullpenFleet) caller(_ int, l load) (caller, error) {
	if !l.held {
		return bullpenCaller{f.pool, func() {}, l.work}, nil
	}
	co, err := f.pool.Checkout(context.Background())
	if err != nil {
		return nil, err
	}
	return bullpenCaller{co, co.Release, l.work}, nil
}

func (f *bullpenFleet) pids() []int { return append([]int{f.srv.Pid()}, f.workers...) }

func (f *bullpenFleet) close() {
	f.release()
	f.pool.Close()
	f.srv.Close()
}

// bullpenCaller calls workers of a pool, or the one of a checkout.
type bullpenCaller struct {
	c       wire.Caller
	release func()
	work    time.Duration
}

func (c bullpenCaller) echo(s string) (string, error) {
	if c.work > 0 {
		return echo.Busy.Call(context.Background(), c.c, s, c.work)
	}
	return echo.String.Call(context.Background(), c.c, s)
}

func (c bullpenCaller) echoBytes(b []byte) ([]byte, error) {
	return echo.Bytes.Call(context.Background(), c.c, b)
}

func (c bullpenCaller) close() { c.release() }
