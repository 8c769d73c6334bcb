package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/echo"
)

// Rows of the scenarios of memory.
const (
	bareBlocked     = "bare worker, blocked in a read"
	bareBlockedSlim = "bare worker, slim program"
	inWorker        = "bullpen's worker"
	inApp           = "the app"
)

// idleMemory is about what a worker takes that does nothing.
func (p *plan) idleMemory() scenario {
	n := 100
	if p.quick {
		n = 20
	}
	row := func(name, rival string, k kind, measure func(string, int) (values, error), program func() (string, error)) step {
		return step{contender: name, kind: k, rival: rival, run: func(context.Context) (values, error) {
			path, err := program()
			if err != nil {
				return nil, err
			}
			return measure(path, n)
		}}
	}
	this := func() (string, error) { return "", nil }
	return scenario{name: idleMemory, title: fmt.Sprintf("Memory of an idle worker that has served a call, one of %d", n),
		metrics: []metric{pss}, steps: []step{
			row(nameBullpen, "", ours, bullpenMemory, this),
			row(bareBlocked, "", limit, bareMemory, this),
			row(bullpenSlim, bullpenSlim, ours, bullpenMemory, p.slim),
			row(bareBlockedSlim, bullpenSlim, limit, bareMemory, p.slim),
		}}
}

func bullpenMemory(path string, n int) (values, error) {
	f, err := onDemand(path, n)
	if err != nil {
		return nil, err
	}
	defer f.close()
	if _, err := f.firstCalls(n, noPause); err != nil {
		return nil, err
	}
	for _, co := range f.held {
		f.workers = append(f.workers, co.Pid())
	}
	return pssOf(f.workers)
}

func bareMemory(path string, n int) (values, error) {
	var pids []int
	for range n {
		w, err := bareStart(path)
		if w != nil {
			defer w.Close()
		}
		if err != nil {
			return nil, err
		}
		pids = append(pids, w.Pid)
	}
	return pssOf(pids)
}

func pssOf(pids []int) (values, error) {
	sum, err := proportional(pids)
	return values{pss: sum / float64(len(pids))}, err
}

// largeMemory is about what is left of the memory that large messages took.
func (p *plan) largeMemory() scenario {
	s := scenario{name: largeMemory, title: "Memory around calls with 16 MiB, 12 s after the last one",
		metrics: []metric{before, peak, after, kept}, rounds: 1, ordered: true, plain: true}
	var app values
	s.steps = []step{
		{contender: inWorker, kind: ours, run: func(ctx context.Context) (worker values, err error) {
			worker, app, err = memoryAround(ctx, 16<<20, 20)
			return worker, err
		}},
		{contender: inApp, kind: ours, run: func(context.Context) (values, error) { return app, nil }}, // was measured with the worker
	}
	return s
}

const (
	giveBack = 12 * time.Second // 10 are allowed
	settled  = time.Second      // then a new worker has done what its first call need not wait for
)

// memoryAround makes n large calls and returns the memory of worker and app around them.
func memoryAround(ctx context.Context, size, n int) (worker, app values, err error) {
	f, err := newBullpen(1)
	if err != nil {
		return nil, nil, err
	}
	defer f.close()
	if err := pass(ctx, settled); err != nil {
		return nil, nil, err
	}
	debug.FreeOSMemory() // what measurements before this one have left
	watched := []*usage{{pid: f.workers[0]}, {pid: os.Getpid()}}
	for _, u := range watched {
		if err := u.begin(); err != nil {
			return nil, nil, err
		}
	}
	payload := make([]byte, size)
	for range n {
		if _, err := echo.Bytes.Call(ctx, f.pool, payload); err != nil {
			return nil, nil, err
		}
	}
	if err := pass(ctx, giveBack); err != nil {
		return nil, nil, err
	}
	debug.FreeOSMemory() // in this process: when an app's garbage is collected is its own business; what is held counts
	for _, u := range watched {
		if err := u.end(); err != nil {
			return nil, nil, err
		}
	}
	return watched[0].found, watched[1].found, nil
}

// pass waits for nothing but time.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// usage is the memory of a process over time.
type usage struct {
	pid   int
	found values
}

func (u *usage) begin() error {
	if err := forgetPeak(u.pid); err != nil {
		return err
	}
	now, _, err := resident(u.pid)
	u.found = values{before: now}
	return err
}

func (u *usage) end() error {
	now, most, err := resident(u.pid)
	u.found[after], u.found[peak] = now, most
	u.found[kept] = 100 * (now - u.found[before]) / max(most-u.found[before], 1)
	return err
}
