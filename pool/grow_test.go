//go:build linux || darwin

package pool_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func TestMaxCheckoutsIsExact(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1, MaxCheckouts: limit})
			var pids []int
			for i := range 2*limit + 1 {
				if i%2 == 0 {
					pids = append(pids, must[int](t)(pid.Call(limited(t), p)))
					continue
				}
				co := checkout(t, p)
				for range 3 { // calls don't count, checkouts do
					must[int](t)(pid.Call(limited(t), co))
				}
				pids = append(pids, co.Pid())
				co.Release()
			}
			for i := range pids[1:] {
				equal(t, fmt.Sprintf("checkout %d has the worker of the one before", i+1), pids[i] == pids[i+1], (i+1)%limit != 0)
			}
			equal(t, "workers ended for it", p.Stat().Ends["max checkouts"], int64(len(pids)/limit))
		})
	}
}

func TestMaxCheckoutsIsExactUnderLoad(t *testing.T) {
	t.Parallel()
	const callers, calls, limit = 8, 15, 5
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 4, MaxCheckouts: limit})
	var mu sync.Mutex // guards used
	used := map[int]int{}
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range calls {
				pid, err := pid.Call(limited(t), p)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				used[pid]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	spent := 0
	for pid, n := range used {
		if n > limit {
			t.Errorf("worker %d was checked out %d times", pid, n)
		}
		if n == limit {
			spent++
		}
	}
	s := p.Stat()
	if s.Ends["max checkouts"] != int64(spent) || len(s.Ends) != 1 || s.Checkouts != callers*calls || s.Total > 4 {
		t.Errorf("%d workers of %d are spent: %+v", spent, len(used), s)
	}
}

// TestReplacementComesBeforeTheOldWorkerGoes has each worker look, while it is set up, whether the one before it lives.
func TestReplacementComesBeforeTheOldWorkerGoes(t *testing.T) {
	t.Parallel()
	srv, d := startHooked(t, forkserver.Config{})
	p := newPool(t, srv, pool.Config{MaxWorkers: 1, MaxCheckouts: 1})
	var calls []*wire.Pending[int]
	for range 5 {
		calls = append(calls, hookedPid.Go(limited(t), p))
	}
	for _, c := range calls {
		must[int](t)(c.Wait())
	}
	b, err := os.ReadFile(d.SetupLog)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "workers with one before them alive", strings.Count(string(b), " true\n"), 4)
	equal(t, "workers had", p.Stat().Connects, 5)
}

// TestRetiredWorkerTakesNoSocketFileWithIt has a server that listens on a path.
func TestRetiredWorkerTakesNoSocketFileWithIt(t *testing.T) {
	t.Parallel()
	path := shortDir(t) + "/s"
	start(t, plain, forkserver.Config{Listen: []string{path}})
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, pool.Unix(path), pool.Config{Wire: kind, MaxWorkers: 1, MaxCheckouts: 1})
		for range 5 {
			must[int](t)(pid.Call(limited(t), p))
			if _, err := os.Stat(path); err != nil {
				t.Fatal(err)
			}
		}
		equal(t, "workers retired", p.Stat().Ends["max checkouts"], 5)
	})
}

func TestPoolGrowsToItsWaitersAndShrinksWhenIdle(t *testing.T) {
	t.Parallel()
	ev, g := newEvents(), newGate(t)
	p := newPool(t, start(t, plain, forkserver.Config{OnEvent: ev.on}),
		pool.Config{MinWorkers: 2, MaxWorkers: 5, IdleTimeout: 50 * time.Millisecond})
	until(t, "MinWorkers are connected", func() bool { return p.Stat().Idle == 2 })
	var calls []*wire.Pending[int]
	for range 8 {
		calls = append(calls, hold.Go(limited(t), p, g.path))
	}
	var there []*held
	for range 5 {
		there = append(there, g.next(t))
	}
	s := p.Stat()
	if s.MaxWorkers != 5 || s.Total != 5 || s.Acquired != 5 || s.Idle != 0 || s.Connecting != 0 || s.Waiting != 3 ||
		s.Connects != 5 || s.Checkouts != 5 || s.Waited != 6 {
		t.Errorf("with all workers busy: %+v", s)
	}
	for i := range calls {
		if i < 3 {
			there = append(there, nil)
		}
		there[i].open()
		if i < 3 {
			there[5+i] = g.next(t)
		}
	}
	for _, c := range calls {
		must[int](t)(c.Wait())
	}
	for _, e := range ev.wait(t, server.WorkerEnded, 3) {
		if e.Type == server.WorkerEnded && e.Exit.Reason != wire.ExitRetired {
			t.Errorf("a worker that wasn't needed %v", e.Exit)
		}
	}
	s = p.Stat()
	if s.Total != 2 || s.Idle != 2 || s.Waiting != 0 || s.Ends["idle"] != 3 || s.Connects != 5 || s.Checkouts != 8 {
		t.Errorf("after a while: %+v", s)
	}
	must[int](t)(pid.Call(limited(t), p))
}

// TestPoolGrowsByAsManyAsWait has the second of two waiters served by a new worker while the first one's starts.
func TestPoolGrowsByAsManyAsWait(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: -1})
	var calls []*wire.Pending[int]
	for range 6 {
		calls = append(calls, hold.Go(limited(t), p, g.path))
	}
	if s := p.Stat(); s.MaxWorkers != 0 || s.Connecting+s.Total != 6 {
		t.Errorf("%+v", s)
	}
	for range 6 {
		defer g.next(t).open()
	}
	if s := p.Stat(); s.Total != 6 || s.Acquired != 6 {
		t.Errorf("%+v", s)
	}
	_ = calls
}

func TestZeroConfigIsUseful(t *testing.T) {
	t.Parallel()
	p, err := pool.New(sharedServer(t), pool.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	until(t, "two workers are connected", func() bool { return p.Stat().Idle == 2 })
	equal(t, "the name", p.Name(), "plain")
	equal(t, "MaxWorkers", p.Stat().MaxWorkers, 20)
	one, err := pool.New(sharedServer(t), pool.Config{MaxWorkers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	until(t, "MinWorkers is no more than MaxWorkers", func() bool { return one.Stat().Idle == 1 })
	must[int](t)(pid.Call(context.Background(), one))
	equal(t, "workers had", one.Stat().Connects, 1)

	if _, err := pool.New(nil, pool.Config{}); err == nil {
		t.Error("a pool without a dialer")
	}
	if _, err := pool.New(sharedServer(t), pool.Config{Wire: 7}); err == nil {
		t.Error("a pool with a wire that doesn't exist")
	}
}
