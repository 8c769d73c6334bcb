package main

import (
	"math"
)

// metric is something that is measured. It is the heading of its column, and names its unit.
type metric string

const (
	rate       metric = "calls/s"
	p50        metric = "p50 µs"
	p99        metric = "p99 µs"
	cpu        metric = "CPU µs/call"
	throughput metric = "GiB/s"
	perOp      metric = "ns"
	pss        metric = "PSS KiB"
	gcMedian   metric = "GC p50 ms"
	gcWorst    metric = "GC worst ms"
	timeMedian metric = "timer p50 ms"
	timeWorst  metric = "timer worst ms"
	allocApp   metric = "in the app"
	allocWork  metric = "in the worker"
	allocBoth  metric = "both"
	perCall    metric = "µs/call"
	idleCPU    metric = "idle CPU ms/s"
	wakeups    metric = "wakeups/s"
	before     metric = "before MiB"
	peak       metric = "peak MiB"
	after      metric = "after MiB"
	kept       metric = "kept %"
)

// values are what one measurement has found.
type values map[metric]float64

// key names a row: a contender in a scenario.
type key struct{ scenario, contender string }

// results are what all measurements have found, and which failed.
type results struct {
	rounds map[key]map[metric][]float64 // one value a round
	failed map[key]error
}

func newResults() *results {
	return &results{rounds: map[key]map[metric][]float64{}, failed: map[key]error{}}
}

// add notes what a round has found. Every metric gets a value in every round, so that rounds can be compared: NaN, if
// it wasn't measured.
func (r *results) add(k key, round int, v values, err error) {
	if err != nil {
		r.failed[k] = err
		return
	}
	if r.rounds[k] == nil {
		r.rounds[k] = map[metric][]float64{}
	}
	for m, x := range v {
		all := r.rounds[k][m]
		for len(all) < round {
			all = append(all, math.NaN())
		}
		r.rounds[k][m] = append(all, x)
	}
}

// of returns a row's values of a metric, one a round.
func (r *results) of(k key, m metric) []float64 { return r.rounds[k][m] }

// ratio returns the median over the rounds of one row's metric divided by another row's.
func (r *results) ratio(of, against key, m metric) float64 {
	return median(ratios(r.of(of, m), r.of(against, m)))
}
