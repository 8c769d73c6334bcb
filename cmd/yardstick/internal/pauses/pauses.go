// Package pauses measures, inside a worker, how long the garbage collector and timers are kept waiting by whatever the
// worker does meanwhile.
package pauses

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// Report is what a probe has seen. Durations are in nanoseconds.
type Report struct {
	GCMedian, GCWorst       time.Duration // how long runtime.GC() took
	TimerMedian, TimerWorst time.Duration // how much later than asked time.Sleep(1ms) returned
	GCs, Timers             int           // how many of each
}

const (
	gcEvery    = 5 * time.Millisecond
	timerAfter = time.Millisecond
)

// probe is two goroutines, one that collects garbage and one that sleeps.
type probe struct {
	stop    chan struct{}
	running sync.WaitGroup
	gcs     []time.Duration
	timers  []time.Duration
}

var (
	mu      sync.Mutex // guards current
	current *probe
)

// Begin starts a probe in this process, in the place of one that runs.
func Begin() {
	End()
	p := &probe{stop: make(chan struct{})}
	p.running.Go(func() { p.gcs = p.repeat(collect, gcEvery) })
	p.running.Go(func() { p.timers = p.repeat(oversleep, 0) })
	mu.Lock()
	defer mu.Unlock()
	current = p
}

// End ends the probe that Begin started and returns what it has seen.
func End() Report {
	mu.Lock()
	p := current
	current = nil
	mu.Unlock()
	if p == nil {
		return Report{}
	}
	close(p.stop)
	p.running.Wait()
	r := Report{GCs: len(p.gcs), Timers: len(p.timers)}
	r.GCMedian, r.GCWorst = ends(p.gcs)
	r.TimerMedian, r.TimerWorst = ends(p.timers)
	return r
}

// repeat collects what measure returns, with a pause after each, until the probe is stopped.
func (p *probe) repeat(measure func() time.Duration, pause time.Duration) (all []time.Duration) {
	for {
		all = append(all, measure())
		select {
		case <-p.stop:
			return all
		case <-time.After(pause):
		}
	}
}

func collect() time.Duration {
	start := time.Now()
	runtime.GC()
	return time.Since(start)
}

func oversleep() time.Duration {
	start := time.Now()
	time.Sleep(timerAfter) // this is what is measured
	return time.Since(start) - timerAfter
}

func ends(all []time.Duration) (median, worst time.Duration) {
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)-1]
}
