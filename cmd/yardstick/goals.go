package main

import (
	"fmt"
	"math"
)

// goal is what bullpen is to reach, as a ratio in one run or as a figure.
type goal struct {
	what   string
	of     key
	metric metric
	// against is the row that it is divided by; without it the figure itself is the measure.
	against key
	most    float64 // 0: there is no upper bound
	least   float64 // 0: there is no lower bound
}

func goals() []goal {
	in := func(scenario, contender string) key { return key{scenario, contender} }
	ours := func(scenario string) key { return key{scenario, nameBullpen} }
	socket := func(scenario string) key { return key{scenario, nameSocket} }
	mib1, mib16 := echoName(1<<20), echoName(16<<20)
	return append(laneGoals(), []goal{
		{what: "socket, one caller: p50 / raw socket with the netpoller", of: socket(oneCaller), metric: p50, against: in(oneCaller, namePoller), most: 1},
		{what: "socket, one caller: calls/s / go-plugin gRPC", of: socket(oneCaller), metric: rate, against: in(oneCaller, namePluginGRPC), least: 6},
		{what: "socket, 8 callers: calls/s / raw-recv", of: socket(eightCallers), metric: rate, against: in(eightCallers, nameRaw), least: 0.9},
		{what: "socket, 8 callers: calls/s / go-plugin gRPC", of: socket(eightCallers), metric: rate, against: in(eightCallers, namePluginGRPC), least: 9},
		{what: "socket, 8 callers: calls/s / ttrpc", of: socket(eightCallers), metric: rate, against: in(eightCallers, nameTTRPC), least: 3.5},
		{what: "socket, 64 callers: calls/s / raw-recv", of: socket(manyCallers), metric: rate, against: in(manyCallers, nameRaw), least: 0.9},
		{what: "socket, 64 callers: calls/s / net/rpc", of: socket(manyCallers), metric: rate, against: in(manyCallers, nameNetRPC), least: 1.15},
		{what: "GC in a worker, 1 caller: median ms", of: ours(pausesOne), metric: gcMedian, most: 2},
		{what: "GC in a worker, 8 callers: median ms", of: ours(pausesEight), metric: gcMedian, most: 2},
		{what: "timer in a worker, 1 caller: median ms late", of: ours(pausesOne), metric: timeMedian, most: 2},
		{what: "timer in a worker, 8 callers: median ms late", of: ours(pausesEight), metric: timeMedian, most: 2},
		{what: "GC, 1 caller: worst / ordinary blocking read", of: ours(pausesOne), metric: gcWorst, against: in(pausesOne, nameBlocking), most: 1},
		{what: "GC, 8 callers: worst / ordinary blocking read", of: ours(pausesEight), metric: gcWorst, against: in(pausesEight, nameBlocking), most: 1},
		{what: "timer, 1 caller: worst / ordinary blocking read", of: ours(pausesOne), metric: timeWorst, against: in(pausesOne, nameBlocking), most: 1},
		{what: "timer, 8 callers: worst / ordinary blocking read", of: ours(pausesEight), metric: timeWorst, against: in(pausesEight, nameBlocking), most: 1},
		{what: "socket, echo of 1 MiB: GiB/s / raw stream, netpoller", of: socket(mib1), metric: throughput, against: in(mib1, namePoller), least: 0.9},
		{what: "socket, echo of 1 MiB: GiB/s / raw stream, raw-recv", of: socket(mib1), metric: throughput, against: in(mib1, nameRaw), least: 0.9},
		{what: "socket, echo of 16 MiB: GiB/s / raw stream, netpoller", of: socket(mib16), metric: throughput, against: in(mib16, namePoller), least: 0.9},
		{what: "socket, echo of 16 MiB: GiB/s / raw stream, raw-recv", of: socket(mib16), metric: throughput, against: in(mib16, nameRaw), least: 0.9},
		{what: "memory of large calls kept by the worker, %", of: in(largeMemory, inWorker), metric: kept, most: 10},
		{what: "memory of large calls kept by the app, %", of: in(largeMemory, inApp), metric: kept, most: 10},
		{what: "first call, connected ahead / bare SCM_RIGHTS", of: in(handOver, bullpenAhead), metric: p50, against: in(handOver, bareHandOver), most: 0.8},
		{what: "first call, standby / bare SCM_RIGHTS", of: in(handOver, bullpenStandby), metric: p50, against: in(handOver, bareHandOver), most: 1.5},
		{what: "cold worker / bare ForkExec", of: ours(coldStart), metric: p50, against: in(coldStart, bareForkExec), most: 1.15},
		{what: "cold worker / bare ForkExec, slim program", of: in(coldStart, bullpenSlim), metric: p50, against: in(coldStart, bareSlim), most: 1.15},
		{what: "8 workers at once / bare ForkExecs", of: ours(eightAtOnce), metric: p50, against: in(eightAtOnce, bareForkExec), most: 1.2},
		{what: "8 workers at once / bare ForkExecs, slim program", of: in(eightAtOnce, bullpenSlim), metric: p50, against: in(eightAtOnce, bareSlim), most: 1.2},
		{what: "idle worker: PSS / blocked in a read", of: ours(idleMemory), metric: pss, against: in(idleMemory, bareBlocked), most: 1.15},
		{what: "idle worker: PSS / blocked in a read, slim program", of: in(idleMemory, bullpenSlim), metric: pss, against: in(idleMemory, bareBlockedSlim), most: 1.15},
		{what: "checkout and release alone, ns", of: ours(checkoutOne), metric: perOp, most: 50},
		{what: "checkout and release, 64 goroutines on 8 / puddle", of: ours(checkoutMany), metric: perOp, against: in(checkoutMany, namePuddle), most: 0.5},
		{what: "allocations of a call, both sides", of: in(allocations, allocPool), metric: allocBoth, most: 4},
		{what: "allocations, queue of 1,000 / queue of 64", of: in(allocations, allocQueued), metric: allocBoth, against: in(allocations, allocMany), most: 1.05},
		{what: "allocations, 40 workers / 8 workers", of: in(allocations, allocFleet), metric: allocBoth, against: in(allocations, allocMany), most: 1.05},
		{what: "many workers, 10 of them in use: cost / few", of: in(scaleUp, crowdMany), metric: perCall, against: in(scaleUp, crowdFew), most: 1.3},
		// So many processes that take turns cost the kernel more; that is what the raw ones show.
		{what: "many workers, all in use: cost / raw-recv workers and a channel", of: in(scaleUp, crowdAll), metric: perCall, against: in(scaleUp, rawMany), most: 1.3},
		{what: "many idle workers: CPU ms/s", of: in(scaleUp, crowdIdle), metric: idleCPU, most: 1},
	}...)
}

// verdict is how a goal was met.
type verdict struct {
	goal     goal
	measured float64 // NaN: it was not measured
}

func (g goal) judge(r *results) verdict {
	if g.against == (key{}) {
		return verdict{g, median(r.of(g.of, g.metric))}
	}
	return verdict{g, r.ratio(g.of, g.against, g.metric)}
}

func (v verdict) known() bool { return !math.IsNaN(v.measured) }

func (v verdict) met() bool {
	if v.goal.most > 0 {
		return v.known() && v.measured <= v.goal.most
	}
	return v.known() && v.measured >= v.goal.least
}

// bound tells what was to be reached.
func (g goal) bound() string {
	if g.most > 0 {
		return fmt.Sprintf("≤ %g", g.most)
	}
	return fmt.Sprintf("≥ %g", g.least)
}

// judgeAll judges the goals whose figures were measured.
func judgeAll(r *results) (all []verdict) {
	for _, g := range goals() {
		if v := g.judge(r); v.known() {
			all = append(all, v)
		}
	}
	return all
}
