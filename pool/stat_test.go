//go:build linux || darwin

package pool_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

// between counts the durations in buckets that begin at from or later and end at to or earlier.
func between(h pool.Histogram, from, to time.Duration) (n int64) {
	begin := time.Duration(0)
	for _, b := range h.Buckets {
		if begin >= from && b.Bound <= to {
			n += b.Count
		}
		begin = b.Bound
	}
	return n
}

func TestStatTellsHowLongCallsWaitedAndRan(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, sharedServer(t), pool.Config{MinWorkers: 1, MaxWorkers: 1, Wire: kind, Timeout: patience})
		until(t, "the worker is connected", func() bool { return p.Stat().Idle == 1 })
		const long = 50 * time.Millisecond
		must[wire.None](t)(nap.Call(limited(t), p, long)) // did not wait
		g := newGate(t)
		first := hold.Go(limited(t), p, g.path)
		held := g.next(t)
		begin := time.Now()
		second := nap.Go(limited(t), p, long)
		until(t, "the second one waits", func() bool { return p.Stat().Waiting == 1 })
		at := p.Stat()
		for time.Since(begin) < long { // what is measured is time
			time.Sleep(time.Millisecond)
		}
		held.open()
		must[int](t)(first.Wait())
		must[wire.None](t)(second.Wait())
		s := p.Stat()
		equal(t, "the snapshot stays: waits", at.Wait.Count, 2)
		equal(t, "the snapshot stays: runs", at.Run.Count, 1)
		equal(t, "waits", s.Wait.Count, 3)
		equal(t, "waits of nothing", between(s.Wait, 0, time.Microsecond), 2)
		equal(t, "long waits", between(s.Wait, 30*time.Millisecond, math.MaxInt64), 1)
		equal(t, "runs", s.Run.Count, 3)
		equal(t, "long runs", between(s.Run, 50*time.Millisecond, math.MaxInt64)+between(s.Run, 30*time.Millisecond, 50*time.Millisecond), 3)
		if q := s.Wait.Quantile(1); q < long || s.Wait.Sum < long || s.Wait.Quantile(0.5) > time.Microsecond {
			t.Errorf("waits: at most %v, median %v, sum %v", q, s.Wait.Quantile(0.5), s.Wait.Sum)
		}
		if q := s.Run.Quantile(0.01); q < 30*time.Millisecond || s.Run.Sum < 3*long || s.Run.Mean() < long {
			t.Errorf("runs: at least %v, sum %v, mean %v", q, s.Run.Sum, s.Run.Mean())
		}
	})
}

// Waits without a worker at their end count too, and calls without a reply; who was refused did not wait.
func TestStatCountsWhatFailed(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1, MaxQueue: 1, Timeout: patience})
	co := checkout(t, p)
	ctx, cancel := context.WithCancel(limited(t))
	call := &wire.Call{Method: "pid"}
	p.Go(ctx, call)
	is(t, p.Call(limited(t), nil, "pid"), pool.ErrQueueFull)
	cancel()
	<-call.Done()
	is(t, call.Err(), context.Canceled)
	if call.Cost.Queued <= 0 || call.Cost.Run != 0 || call.Pid != 0 {
		t.Errorf("the call that waited in vain took %+v on worker %d", call.Cost, call.Pid)
	}
	died := &wire.Call{Method: "exit", Args: []any{3, ""}}
	as[*pool.WorkerDiedError](t, co.Do(limited(t), died))
	if died.Cost.Run <= 0 || died.Pid != co.Pid() {
		t.Errorf("the call that killed its worker took %+v on worker %d", died.Cost, died.Pid)
	}
	co.Release()
	slow := &wire.Call{Method: "nap", Args: []any{time.Hour}}
	var timeout *pool.TimeoutError
	if err := p.With(pool.CheckoutConfig{Timeout: 20 * time.Millisecond}).Do(limited(t), slow); !errors.As(err, &timeout) {
		t.Fatal(err)
	}
	equal(t, "the run time of the call that was killed", slow.Cost.Run, timeout.Ran)
	s := p.Stat()
	equal(t, "refused", s.Refused, 1)
	equal(t, "waits", s.Wait.Count, s.Checkouts+s.Canceled+s.Timeouts)
	until(t, "runs", func() bool { return p.Stat().Run.Count == int64(1)+map[bool]int64{true: 1}[timeout.Ran > 0] })
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	s := newPool(t, sharedServer(t), pool.Config{}).Stat()
	h := s.Run
	equal(t, "the quantile of nothing", h.Quantile(0.5), 0)
	equal(t, "the mean of nothing", h.Mean(), 0)
	last := time.Duration(0)
	for i, b := range h.Buckets {
		if b.Bound <= last || i > 0 && i < len(h.Buckets)-1 && b.Bound*3 > last*5 {
			t.Errorf("bucket %d ends at %v, the one before at %v", i, b.Bound, last)
		}
		last = b.Bound
	}
	equal(t, "the first bound", h.Buckets[0].Bound, time.Microsecond)
	equal(t, "the last bound but one", h.Buckets[len(h.Buckets)-2].Bound, 1000*time.Second)

	h.Buckets[2].Count, h.Buckets[3].Count, h.Buckets[len(h.Buckets)-1].Count = 50, 40, 10 // up to 2 µs, to 3 µs, and for ever
	h.Count = 100
	for share, want := range map[float64]time.Duration{-1: 1500, 0: 1500, 0.25: 1750, 0.5: 2000, 0.7: 2500, 0.9: 3000, 0.95: 1000 * time.Second, 1: 1000 * time.Second, 2: 1000 * time.Second} {
		equal(t, "a quantile", h.Quantile(share), want)
	}
}
