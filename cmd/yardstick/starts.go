package main

import (
	"context"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"

	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/bare"
	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/echo"
)

// Rows of the scenarios of starting.
const (
	bullpenSlim  = "bullpen, slim program"
	bareForkExec = "bare ForkExec"
	bareSlim     = "bare ForkExec, slim program"
)

var forkSpec = bare.Spec{Read: bare.Blocking, Procs: 1}

// coldStart is about a worker that has to be started.
func (p *plan) coldStart() scenario {
	n := p.samples(15)
	s := scenario{name: coldStart, title: "A new worker process, from the request to its first reply", metrics: []metric{p50},
		steps: []step{
			p.starting(nameBullpen, ours, func() ([]time.Duration, error) { return bullpenStarts("", n) }),
			p.starting(bareForkExec, limit, func() ([]time.Duration, error) { return bareStarts("", n) }),
			p.startingSlim(bullpenSlim, ours, func(path string) ([]time.Duration, error) { return bullpenStarts(path, n) }),
			p.startingSlim(bareSlim, limit, func(path string) ([]time.Duration, error) { return bareStarts(path, n) }),
			p.starting(namePluginRPC, peer, func() ([]time.Duration, error) { return fleetStarts(startPluginRPC, n) }),
			p.starting(namePluginGRPC, peer, func() ([]time.Duration, error) { return fleetStarts(startPluginGRPC, n) }),
		}}
	for _, name := range []string{namePython, nameNode} {
		if in, ok := p.interpreters[name]; ok {
			s.steps = append(s.steps, step{contender: name, kind: peer, run: func(ctx context.Context) (values, error) {
				all, err := in.starts(ctx, n)
				return values{p50: median(micros(all))}, err
			}})
		}
	}
	return s
}

// starting is a step that yields times.
func (p *plan) starting(name string, k kind, measure func() ([]time.Duration, error)) step {
	return step{contender: name, kind: k, run: func(context.Context) (values, error) {
		all, err := measure()
		return values{p50: median(micros(all))}, err
	}}
}

// startingSlim is such a step with the slim program.
func (p *plan) startingSlim(name string, k kind, measure func(path string) ([]time.Duration, error)) step {
	st := p.starting(name, k, func() ([]time.Duration, error) {
		path, err := p.slim()
		if err != nil {
			return nil, err
		}
		return measure(path)
	})
	st.rival = bullpenSlim
	return st
}

// onDemand starts a server, of the program at path, and a pool that has no worker until one is wanted.
func onDemand(path string, workers int) (*bullpenFleet, error) {
	srv, err := forkserver.Start(context.Background(), echo.Service, forkserver.Config{Path: path})
	if err != nil {
		return nil, err
	}
	f := &bullpenFleet{srv: srv}
	if f.pool, err = pool.New(srv, pool.Config{MinWorkers: -1, MaxWorkers: workers}); err != nil {
		srv.Close()
		return nil, err
	}
	return f, nil
}

// firstCall checks a worker out and calls it, and keeps it: the next one needs another worker.
func (f *bullpenFleet) firstCall() (co *pool.Checkout, took time.Duration, err error) {
	begin := time.Now()
	if co, err = f.pool.Checkout(context.Background()); err != nil {
		return nil, 0, err
	}
	_, err = echo.String.Call(context.Background(), co, text)
	return co, time.Since(begin), err
}

// firstCalls measures n first calls of different workers, with a pause before each.
func (f *bullpenFleet) firstCalls(n int, pause func() error) (all []time.Duration, err error) {
	for range n {
		if err := pause(); err != nil {
			return nil, err
		}
		co, took, err := f.firstCall()
		if co != nil {
			f.held = append(f.held, co)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, took)
	}
	return all, nil
}

func noPause() error { return nil }

// bullpenStarts measures n starts, one after the other.
func bullpenStarts(path string, n int) (all []time.Duration, err error) {
	f, err := onDemand(path, n)
	if err != nil {
		return nil, err
	}
	defer f.close()
	return f.firstCalls(n, noPause)
}

// bareStart starts a worker and calls it.
func bareStart(path string) (*bare.Worker, error) {
	spec := forkSpec
	spec.Path = path
	w, err := bare.Start(spec)
	if err != nil {
		return nil, err
	}
	_, err = w.Echo(text)
	return w, err
}

func bareStarts(path string, n int) (all []time.Duration, err error) {
	for range n {
		begin := time.Now()
		w, err := bareStart(path)
		if w != nil {
			defer w.Close()
		}
		if err != nil {
			return nil, err
		}
		all = append(all, time.Since(begin))
	}
	return all, nil
}

// fleetStarts measures n starts of fleets of one worker.
func fleetStarts(start func(int) (fleet, error), n int) (all []time.Duration, err error) {
	for range n {
		begin := time.Now()
		f, err := start(1)
		if err != nil {
			return nil, err
		}
		c, err := f.caller(0, load{})
		if err == nil {
			_, err = c.echo(text)
		}
		all = append(all, time.Since(begin))
		f.close()
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
