package main

import (
	"context"
	"fmt"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"

	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/bare"
	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/echo"
)

// Rows of the scenario.
const (
	bullpenAhead   = "bullpen, connected ahead"
	bullpenStandby = "bullpen, standby"
	bareHandOver   = "bare SCM_RIGHTS hand-over"
)

const standbyWait = 10 * time.Second // for a standby, at most

// handOver is about a worker that runs already, and gets its first call.
func (p *plan) handOver() scenario {
	n := p.samples(30)
	return scenario{name: handOver, title: "The first call of a worker that runs already", metrics: []metric{p50},
		steps: []step{
			p.starting(bullpenAhead, ours, func() ([]time.Duration, error) { return aheadCalls(n) }),
			p.starting(bareHandOver, limit, func() ([]time.Duration, error) { return handOvers(n) }),
			p.starting(bullpenStandby, ours, func() ([]time.Duration, error) { return standbyCalls(n) }),
		}}
}

// aheadCalls measures the first calls of workers that their pool has connected in advance.
func aheadCalls(n int) (all []time.Duration, err error) {
	f, err := newBullpen(n)
	if err != nil {
		return nil, err
	}
	defer f.close()
	return f.firstCalls(n, func() error {
		rest()
		return nil
	})
}

// rest lets everything come to rest, as it does in a program that seldom needs a worker.
func rest() { time.Sleep(5 * time.Millisecond) }

// standbyCalls measures first calls on workers that the server had ready.
func standbyCalls(n int) (all []time.Duration, err error) {
	const standbys = 2
	ready := make(chan struct{}, 4*n)
	srv, err := forkserver.Start(context.Background(), echo.Service, forkserver.Config{
		Limits: server.Limits{Standby: standbys},
		OnEvent: func(e server.Event) {
			if e.Type == server.WorkerReady {
				ready <- struct{}{}
			}
		},
	})
	if err != nil {
		return nil, err
	}
	f := &bullpenFleet{srv: srv}
	if f.pool, err = pool.New(srv, pool.Config{MinWorkers: -1, MaxCheckouts: 1}); err != nil { // each call has its own worker
		srv.Close()
		return nil, err
	}
	defer f.close()
	if _, err := echo.String.Call(context.Background(), f.pool, text); err != nil { // may be cold
		return nil, err
	}
	for range standbys { // that one has been ready before the last of them
		if err := await(ready); err != nil {
			return nil, err
		}
	}
	for range n {
		if err := await(ready); err != nil {
			return nil, err
		}
		rest()
		begin := time.Now()
		if _, err := echo.String.Call(context.Background(), f.pool, text); err != nil {
			return nil, err
		}
		all = append(all, time.Since(begin))
	}
	return all, nil
}

func await(ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-time.After(standbyWait):
		return fmt.Errorf("no standby got ready within %v", standbyWait)
	}
}

// handOvers measures the same with nothing between the two processes.
func handOvers(n int) (all []time.Duration, err error) {
	spec := rawSpec
	spec.HandOver = true
	var waiting []*bare.Worker
	for range n {
		w, err := bare.Start(spec)
		if err != nil {
			return nil, err
		}
		defer w.Close()
		if err := w.Ready(); err != nil {
			return nil, err
		}
		waiting = append(waiting, w)
	}
	for _, w := range waiting {
		rest()
		begin := time.Now()
		if err := w.HandOver(); err != nil {
			return nil, err
		}
		if _, err := w.Echo(text); err != nil {
			return nil, err
		}
		all = append(all, time.Since(begin))
	}
	return all, nil
}
