//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

// chaosPhase is a part of a run in which calls are made.
type chaosPhase struct {
	name   string
	share  float64 // of the run's duration
	good   bool    // calls do no harm themselves
	strict bool    // and must all end well
	faults [][]chaosFault
	pause  time.Duration // between two faults of a kind
	// stopIdle stops the workers when all calls have ended, before their pools close.
	stopIdle bool
	byPath   bool // there is a pool of a Listen address, too: it has no part in restarts, which wait for its clients
}

var chaosPhases = []chaosPhase{
	{name: "workers", share: 0.35, byPath: true, faults: [][]chaosFault{chaosWorkerFaults}, pause: 40 * time.Millisecond},
	{name: "restarts", share: 0.1, good: true, strict: true, faults: [][]chaosFault{chaosRestarts}, pause: 50 * time.Millisecond},
	{name: "servers", share: 0.15, good: true, byPath: true, faults: [][]chaosFault{chaosServerFaults}, pause: 300 * time.Millisecond},
	{name: "setups", share: 0.05, good: true, faults: [][]chaosFault{chaosSetupFaults, chaosWorkerFaults}, pause: 100 * time.Millisecond},
	{name: "all at once", share: 0.15, stopIdle: true, pause: 200 * time.Millisecond,
		faults: [][]chaosFault{chaosWorkerFaults, slices.Concat(chaosServerFaults, chaosRestarts), chaosSetupFaults}},
}

// The rest of the duration.
const (
	chaosAppsShare       = 0.1 // app deaths
	chaosExhaustionShare = 0.1
)

const (
	chaosMaxMessage = 8 << 20
	chaosStandby    = 1
	chaosThink      = 15 * time.Millisecond
)

// phases makes the calls.
func (r *chaosState) phases(ctx context.Context) error {
	r.quiet("start")
	for i, p := range chaosPhases {
		r.report.phase(p.name)
		if err := r.phase(ctx, i, p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		r.quiet(p.name)
		if i == 0 { // memory that only the first calls take is no growth
			r.report.before.rss = takeChaosCensus(r.mark, r.temp).rss
		}
	}
	return nil
}

// chaosShare is a pool, and its share of workers and callers.
type chaosShare struct {
	tree    *chaosTree
	pool    *pool.Pool
	workers int
}

// serversDie reports whether servers are killed in the phase.
func (p *chaosPhase) serversDie() bool {
	return slices.ContainsFunc(p.faults, func(fs []chaosFault) bool { return &fs[0] == &chaosServerFaults[0] })
}

// pools makes a phase's pools.
func (r *chaosState) pools(p chaosPhase) (shares []chaosShare, err error) {
	plain, hooked, byPath := r.trees[0], r.trees[1], r.trees[2]
	n := r.Workers
	configs := []struct {
		tree    *chaosTree
		dialer  pool.Dialer
		workers int
		config  pool.Config
	}{
		{plain, plain, max(n/2, 1), pool.Config{Name: "plain", ReuseAfterError: true, MaxQueue: 3 * r.Callers}},
		{hooked, hooked, max(n/4, 1), pool.Config{Name: "recycled", MaxCheckouts: 1}},
		{plain, plain, max(n/8, 1), pool.Config{Name: "json", Wire: wire.JSON, MinWorkers: -1}},
		{byPath, pool.Unix(r.socket()), max(n/8, 1), pool.Config{Name: "by path"}},
	}
	if !p.byPath {
		configs = configs[:3]
	}
	for _, c := range configs {
		c.config.MaxWorkers, c.config.SharedMemory = c.workers, r.SharedMemory
		w, err := pool.New(c.dialer, c.config)
		if err != nil {
			return nil, err
		}
		shares = append(shares, chaosShare{c.tree, w, c.workers})
	}
	return shares, nil
}

// phase runs one phase.
func (r *chaosState) phase(ctx context.Context, number int, p chaosPhase) error {
	shares, err := r.pools(p)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	var callers, faulters sync.WaitGroup
	r.startCallers(p, number, shares, stop, &callers)
	r.startFaulters(p, number, shares, stop, &faulters)
	t := time.NewTimer(time.Duration(p.share * float64(r.Duration)))
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	close(stop)
	defer collectGarbage()()
	err = errors.Join(r.wait(&callers, "the calls"), r.wait(&faulters, "the faults"))
	if p.stopIdle {
		r.stopIdle(shares)
	}
	for i, s := range shares {
		begin := time.Now()
		if (number+i)%2 == 0 {
			s.pool.Close()
		} else {
			short, cancel := context.WithTimeout(context.Background(), chaosLongest)
			if err := s.pool.Shutdown(short); err != nil {
				r.ledger.broken("Shutdown of a pool that nobody uses: %v", err)
			}
			cancel()
		}
		r.report.closed(time.Since(begin))
		r.report.pool(s.pool.Stat())
	}
	return errors.Join(err, context.Cause(ctx))
}

// stopIdle stops the workers once all of them are idle: one that has still to acknowledge its release would be waited for.
func (r *chaosState) stopIdle(shares []chaosShare) {
	for _, s := range shares {
		for late := time.Now().Add(chaosLongest); s.pool.Stat().Acquired > 0 && time.Now().Before(late); {
			time.Sleep(5 * time.Millisecond)
		}
	}
	for _, t := range r.trees {
		if !t.byPath {
			t.stopIdle(r.ledger)
		}
	}
}

// startCallers gives each pool its share of callers.
func (r *chaosState) startCallers(p chaosPhase, phase int, shares []chaosShare, stop <-chan struct{}, all *sync.WaitGroup) {
	deeds := chaosGoodDeeds
	if !p.good {
		deeds = slices.Concat(chaosGoodDeeds, chaosBadDeeds)
	}
	var turns []chaosShare // one for each worker
	for _, s := range shares {
		for range s.workers {
			turns = append(turns, s)
		}
	}
	for i := range r.Callers {
		share, deeds := turns[i%len(turns)], deeds
		if share.tree.byPath { // while a worker is idle nobody can tell that it is stuck: its server doesn't see its client go
			deeds = slices.DeleteFunc(slices.Clone(deeds), func(d chaosDeed) bool { return d.later })
		}
		c := &chaosCaller{rng: r.random("caller", phase, i), ledger: r.ledger, pool: share.pool, deeds: deeds,
			strict: p.strict, think: chaosThink, unknown: share.tree.byPath && p.serversDie()}
		all.Go(func() { c.run(stop) })
	}
}

// startFaulters starts a faulter for each kind of faults.
func (r *chaosState) startFaulters(p chaosPhase, phase int, shares []chaosShare, stop <-chan struct{}, all *sync.WaitGroup) {
	pools := map[*chaosTree]*pool.Pool{}
	var trees []*chaosTree
	for _, s := range shares {
		if pools[s.tree] == nil {
			pools[s.tree] = s.pool
			trees = append(trees, s.tree)
		}
	}
	for i, faults := range p.faults {
		f := &chaosFaulter{rng: r.random("faulter", phase, i), ledger: r.ledger, trees: trees, pools: pools, faults: faults,
			pause: p.pause, dir: r.dir, stop: stop}
		all.Go(f.run)
	}
}

// random returns the random numbers of somebody who makes choices.
func (r *chaosState) random(who string, numbers ...int) *rand.Rand {
	var key [32]byte
	copy(key[:], fmt.Sprintf("%d %s %v", r.Seed, who, numbers))
	return rand.New(rand.NewChaCha8(key))
}

// wait waits for goroutines. Calls that don't end are what this program is to find, so it doesn't wait for ever.
func (r *chaosState) wait(group *sync.WaitGroup, what string) error {
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(2 * chaosLongest):
		stacks := make([]byte, 1<<20)
		return fmt.Errorf("%s do not end; the goroutines:\n%s", what, stacks[:runtime.Stack(stacks, true)])
	}
}

// collectGarbage collects it again and again until stop is called. Checkouts that were dropped are found so, for which a
// restart and a pool's Shutdown wait; and a program that does nothing else makes no garbage.
func collectGarbage() (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(100 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				runtime.GC()
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// quiet looks at the trees while nothing is to do: each has a server and its standbys, and no zombies.
func (r *chaosState) quiet(when string) {
	var found map[int]string
	var zombies []string
	for late := time.Now().Add(chaosLongest); ; time.Sleep(20 * time.Millisecond) {
		found = chaosMarked(r.mark)
		zombies = zombies[:0]
		for pid := range chaosProcesses() {
			if state, parent := chaosStat(pid); state == 'Z' && (found[parent] != "" || parent == os.Getpid()) {
				zombies = append(zombies, fmt.Sprintf("%d (child of %d)", pid, parent))
			}
		}
		if len(found) == len(r.trees)*(1+chaosStandby) && len(zombies) == 0 {
			break
		}
		if time.Now().After(late) {
			var all []string
			for _, what := range found {
				all = append(all, what)
			}
			slices.Sort(all)
			r.ledger.stray(len(found)-len(r.trees)*(1+chaosStandby), len(zombies),
				"after %s there are, while nothing is to do:\n      %s\n      zombies: %v", when, strings.Join(all, "\n      "), zombies)
			break
		}
	}
	time.Sleep(50 * time.Millisecond) // the standbys have only just started
	for _, t := range r.trees {
		r.report.server(t.name, t.Pid())
	}
}
