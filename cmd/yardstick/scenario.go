package main

import (
	"context"
	"time"
)

// scenario is a question that several contenders answer. Each has a table of its own.
type scenario struct {
	name  string // what --only matches
	title string
	// metrics are the columns. The first one is what contenders are compared by.
	metrics []metric
	steps   []step
	first   string // the first step, also if --only leaves it out
	rounds  int    // 0: as many as there are
	// ordered steps depend on those before them.
	ordered bool
	// plain steps are not compared with each other.
	plain bool
}

// step is a row: one contender's measurement, made once a round.
type step struct {
	contender string
	kind      kind
	run       func(context.Context) (values, error)
	// rival is the row that it is compared with; "" is the scenario's first one.
	rival string
}

// plan is what a run is to measure, and how long.
type plan struct {
	duration     time.Duration
	quick        bool
	scale        float64
	interpreters map[string]interpreter
	slim         func() (string, error) // the path of the slim program
}

// samples returns how often something is done in a round that is done once at a time.
func (p *plan) samples(n int) int {
	if p.quick {
		return max(n/3, 3)
	}
	return n
}

// Names of the scenarios that goals are about.
const (
	oneCaller    = "one-caller"
	eightCallers = "eight-callers"
	manyCallers  = "64-callers"
	everyTwo     = "every-2ms"
	handOver     = "first-call"
	coldStart    = "cold-start"
	eightAtOnce  = "eight-at-once"
	idleMemory   = "idle-memory"
	largeMemory  = "large-memory"
	checkoutOne  = "checkout"
	checkoutMany = "checkout-64"
	pausesOne    = "pauses-one-caller"
	pausesEight  = "pauses-eight-callers"
	allocations  = "allocations"
	scaleUp      = "scale"
)

// scenarios returns all of them.
func (p *plan) scenarios() []scenario {
	all := p.calls()
	all = append(all, p.payloads()...)
	all = append(all, p.lanes()...)
	all = append(all, p.handOver(), p.coldStart(), p.eightAtOnce(), p.idleMemory(), p.largeMemory(),
		p.checkout(), p.checkoutMany(), p.pauses(pausesOne, 1), p.pauses(pausesEight, 8), p.allocations(), p.scaleUp())
	for i, s := range all {
		all[i].first = s.steps[0].contender
	}
	return all
}
