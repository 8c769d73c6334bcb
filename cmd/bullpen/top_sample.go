package main

import (
	"time"

	"github.com/bullpen-go/bullpen/internal/observe"
	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/pool"
)

// sample is what an app shows, with what has changed since the sample before it, or since the beginning if it is the first.
type sample struct {
	*observe.App
	pools []poolRates
	rows  []row
}

// row is a worker's.
type row struct {
	server *observe.Server
	observe.Worker
	calls float64 // per second
	cpu   float64 // of one processor, from 0 to 1 and above; -1: unknown
}

// poolRates are a pool's.
type poolRates struct {
	*scoreboard.PoolReading
	checkouts float64 // per second
	wait, run pool.Histogram
}

// workerKey tells one worker from all others, of other servers too.
type workerKey struct{ server, number int }

func (r *row) key() workerKey { return workerKey{r.server.Reading.Server, r.Number} }

// newSample compares what an app shows with what it has shown before.
func newSample(before *sample, a *observe.App) *sample {
	s := &sample{App: a}
	old := map[workerKey]*row{}
	var passed time.Duration
	if before != nil {
		passed = a.Time.Sub(before.Time)
		for i := range before.rows {
			old[before.rows[i].key()] = &before.rows[i]
		}
	}
	for _, server := range a.Servers {
		for _, w := range server.Workers {
			r := row{server: server, Worker: w, cpu: -1}
			r.rates(old[r.key()], passed)
			s.rows = append(s.rows, r)
		}
	}
	for _, p := range a.Pools {
		s.pools = append(s.pools, newPoolRates(before, p, passed))
	}
	return s
}

// rates compares a worker with itself a while ago. Of a new one, all is since its start.
func (r *row) rates(before *row, passed time.Duration) {
	calls, cpu := r.Calls, r.CPU
	if before == nil {
		passed = r.Age
	} else {
		calls -= min(before.Calls, calls)
		cpu -= max(before.CPU, 0)
	}
	if passed <= 0 {
		return
	}
	r.calls = float64(calls) / passed.Seconds()
	if r.CPU >= 0 {
		r.cpu = float64(max(cpu, 0)) / float64(passed)
	}
}

// newPoolRates compares a pool with itself a while ago.
func newPoolRates(before *sample, p *scoreboard.PoolReading, passed time.Duration) poolRates {
	r := poolRates{PoolReading: p}
	old := &scoreboard.PoolReading{}
	if before != nil {
		for _, b := range before.pools {
			if b.Name == p.Name && b.Began == p.Began {
				old = b.PoolReading
			}
		}
	}
	if old.Uptime == 0 {
		passed = p.Uptime
	}
	if passed > 0 {
		r.checkouts = float64(p.Checkouts-old.Checkouts) / passed.Seconds()
	}
	// Who got a worker at once did not wait, and is not among those that were counted.
	r.wait = histogram(p.Wait, old.Wait, p.Checkouts-p.Served-(old.Checkouts-old.Served))
	r.run = histogram(p.Run, old.Run, 0)
	return r
}

// histogram returns what was counted since the reading before, and so many durations of 0 as well.
func histogram(now, before scoreboard.DurationsReading, zeros int64) pool.Histogram {
	zeros = max(zeros, 0)
	h := pool.Histogram{Buckets: make([]pool.Bucket, scoreboard.Buckets), Count: zeros, Sum: now.Sum - before.Sum}
	for i, bound := range scoreboard.Bounds {
		n := max(now.Counts[i]-before.Counts[i], 0)
		h.Buckets[i] = pool.Bucket{Bound: bound, Count: n}
		h.Count += n
	}
	h.Buckets[0].Count += zeros
	return h
}
