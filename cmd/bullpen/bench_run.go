package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

// benchService is what bench calls if it is given no address.
var benchService = server.NewService("bench", server.Hooks{})

var _ = server.Handle(benchService, "echo", func(_ context.Context, s string) (string, error) { return s, nil })

// benchTarget is what is measured.
type benchTarget struct {
	name   string
	pool   *pool.Pool
	end    func()
	rounds []*benchRound
}

// benchRound is what was measured in one go. Times are in nanoseconds.
type benchRound struct {
	took   time.Duration
	times  *hdrhistogram.Histogram
	errors map[string]int // how often each came
	unsent int            // calls that were due and never begun
}

// Calls of up to benchLongest are told apart, to three digits.
const benchLongest = time.Hour

func newBenchRound() *benchRound {
	return &benchRound{times: hdrhistogram.New(100, int64(benchLongest), 3), errors: map[string]int{}}
}

// add adds what another round, or caller, has measured at the same time.
func (r *benchRound) add(o *benchRound) {
	r.times.Merge(o.times)
	for text, n := range o.errors {
		r.errors[text] += n
	}
	r.unsent += o.unsent
}

func (r *benchRound) failed() (n int) {
	for _, k := range r.errors {
		n += k
	}
	return n
}

// note notes a call's end.
func (r *benchRound) note(took time.Duration, err error) {
	if err == nil {
		r.times.RecordValue(min(int64(took), int64(benchLongest)))
		return
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	r.errors[text]++
}

// total returns what all rounds have measured.
func (t *benchTarget) total() *benchRound {
	all := newBenchRound()
	for _, r := range t.rounds {
		all.add(r)
		all.took += r.took
	}
	return all
}

// openTarget makes a pool of what is to be measured.
func (c *benchConfig) openTarget(ctx context.Context, name string) (*benchTarget, error) {
	t := &benchTarget{name: name}
	var dialer pool.Dialer
	if name == benchSelf {
		srv, err := forkserver.Start(ctx, benchService, forkserver.Config{Logger: commandLogger(c.log, hclog.Warn)})
		if err != nil {
			return nil, err
		}
		dialer, t.end = srv, func() { srv.Close() }
	} else {
		call := callConfig{connect: name, tls: c.tls}
		var err error
		if dialer, t.end, err = call.dialer(ctx); err != nil {
			return nil, err
		}
	}
	p, err := pool.New(dialer, pool.Config{Name: "bench", MinWorkers: c.workers, MaxWorkers: c.workers, Timeout: c.timeout, Wire: c.wire})
	if err != nil {
		t.end()
		return nil, err
	}
	t.pool = p
	return t, nil
}

func (t *benchTarget) close() {
	t.pool.Close()
	t.end()
}

// bench measures the targets, in turns, and prints what it has found. When ctx ends it prints what it has until then.
func bench(ctx context.Context, c benchConfig) error {
	var targets []*benchTarget
	for _, name := range c.connect {
		t, err := c.openTarget(ctx, name)
		if err != nil {
			return err
		}
		defer t.close()
		targets = append(targets, t)
	}
	meter := newBenchMeter(c.log, time.Duration(len(targets))*c.duration)
	defer meter.stop()
	for _, t := range targets {
		if r := c.round(ctx, t, c.warmup, 0, nil); r.times.TotalCount() == 0 && r.failed() > 0 {
			for text := range r.errors {
				return fmt.Errorf("%s: %s", t.name, text)
			}
		}
	}
	for round := range c.rounds {
		for i := range targets {
			t := targets[(i+round)%len(targets)] // what comes first has no advantage
			meter.begin(t.name)
			r := c.round(ctx, t, c.duration/time.Duration(c.rounds), c.rate, meter)
			if r.times.TotalCount()+int64(r.failed()) > 0 {
				t.rounds = append(t.rounds, r)
			}
		}
	}
	meter.stop()
	for _, t := range targets {
		if t.total().times.TotalCount() == 0 {
			return errors.Join(fmt.Errorf("%s: no call has succeeded", t.name), ctx.Err())
		}
	}
	return c.report(targets)
}

// round makes calls for some time.
func (c *benchConfig) round(ctx context.Context, t *benchTarget, d time.Duration, rate float64, meter *benchMeter) *benchRound {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	argument := strings.Repeat("x", c.payload)
	pace := &benchPace{start: time.Now(), end: d, rate: rate}
	parts := make([]*benchRound, c.concurrency)
	var callers sync.WaitGroup
	for i := range parts {
		parts[i] = newBenchRound()
		callers.Go(func() {
			for due, ok := pace.next(ctx); ok; due, ok = pace.next(ctx) {
				err := c.call(t, argument)
				parts[i].note(time.Since(due), err)
				meter.count(err)
			}
		})
	}
	callers.Wait()
	all := newBenchRound()
	for _, p := range parts {
		all.add(p)
	}
	all.took = time.Since(pace.start)
	all.unsent = pace.unsent()
	return all
}

// call makes one call. It isn't cut off at the round's end: its time is one of those that count.
func (c *benchConfig) call(t *benchTarget, argument string) error {
	if c.method != "echo" {
		return t.pool.Call(context.Background(), nil, c.method, argument)
	}
	var reply string
	err := t.pool.Call(context.Background(), &reply, c.method, argument)
	if err == nil && reply != argument {
		err = errors.New("the reply is not what was sent")
	}
	return err
}

// benchPace says when the calls of a round begin.
type benchPace struct {
	start time.Time
	end   time.Duration // after that
	rate  float64       // calls a second; 0: as soon as a caller is free
	begun atomic.Int64
	over  atomic.Int64 // how long after start ctx has ended, if it did so early
}

// next waits for the next call, and returns when it was to begin. It is not ok when the round is over.
func (p *benchPace) next(ctx context.Context) (due time.Time, ok bool) {
	if ctx.Err() != nil {
		p.over.CompareAndSwap(0, int64(time.Since(p.start)))
		return due, false
	}
	if p.rate == 0 {
		return time.Now(), true
	}
	n := p.begun.Add(1) - 1
	after := p.after(n)
	if after >= p.end {
		p.begun.Add(-1)
		return due, false
	}
	due = p.start.Add(after)
	if wait := time.Until(due); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			p.begun.Add(-1)
			p.over.CompareAndSwap(0, int64(time.Since(p.start)))
			return due, false
		}
	}
	return due, true
}

// after returns when the nth call is due, from the start.
func (p *benchPace) after(n int64) time.Duration {
	return time.Duration(float64(n) / p.rate * float64(time.Second))
}

// unsent returns how many calls were due before the round's end and never begun.
func (p *benchPace) unsent() int {
	if p.rate == 0 {
		return 0
	}
	end := p.end
	if over := time.Duration(p.over.Load()); over > 0 {
		end = min(end, over)
	}
	due := int64(end.Seconds() * p.rate)
	return int(max(due-p.begun.Load(), 0))
}
