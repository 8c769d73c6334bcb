//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bullpen-go/bullpen/pool"
)

// chaosDeed is something that a call can want, and how often it does.
type chaosDeed struct {
	name   string
	weight int
	harm   bool          // its call, or its worker, is not expected to do well
	sticks bool          // it ends with its caller's patience only
	later  bool          // it leaves its worker stuck when it has ended
	max    time.Duration // of chaosOrder.For
}

// chaosGoodDeeds end well.
var chaosGoodDeeds = []chaosDeed{
	{name: "answer", weight: 800},
	{name: "slow", weight: 60, max: 60 * time.Millisecond},
	{name: "busy", weight: 20, max: 10 * time.Millisecond},
	{name: "deaf", weight: 20, max: 100 * time.Millisecond},
	{name: "log", weight: 20},
	{name: "print", weight: 2},
	{name: "children", weight: 3},
}

// chaosBadDeeds end badly, for the call itself or for the next ones on the same worker.
var chaosBadDeeds = []chaosDeed{
	{name: "fail", weight: 30, harm: true},
	{name: "panic", weight: 8, harm: true},
	{name: "goexit", weight: 2, harm: true},
	{name: "too large", weight: 1, harm: true},
	{name: "loop", weight: 3, harm: true, sticks: true},
	{name: "hard loop", weight: 2, harm: true, sticks: true},
	{name: "stop", weight: 3, harm: true, sticks: true},
	{name: "kill", weight: 8, harm: true},
	{name: "segv", weight: 5, harm: true},
	{name: "abort", weight: 4, harm: true},
	{name: "throw", weight: 3, harm: true},
	{name: "exit", weight: 5, harm: true},
	{name: "exit 0", weight: 3, harm: true},
	{name: "exit later", weight: 4, harm: true, max: 5 * time.Millisecond},
	{name: "loop later", weight: 2, harm: true, later: true, max: 5 * time.Millisecond},
	{name: "close", weight: 3, harm: true},
}

// chaosCaller makes one call after the other. All its choices come from its own random numbers.
type chaosCaller struct {
	rng    *rand.Rand
	ledger *chaosLedger
	pool   *pool.Pool
	deeds  []chaosDeed
	strict bool          // every call has all the time it wants, and must end well
	think  time.Duration // the mean time between calls
	// unknown says that nobody may know how a worker died: its server died, too, and its pool has no other way to it than
	// a path.
	unknown bool
}

// run calls until stop is closed.
func (c *chaosCaller) run(stop <-chan struct{}) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		switch n := c.rng.IntN(100); {
		case n < 70:
			c.call()
		case n < 78:
			c.several(2 + c.rng.IntN(3))
		default:
			c.checkout()
		}
		t.Reset(time.Duration(c.rng.ExpFloat64() * float64(c.think)))
	}
}

// order makes up a call.
func (c *chaosCaller) order() (*chaosOrder, chaosDeed) {
	total := 0
	for _, d := range c.deeds {
		total += d.weight
	}
	n := c.rng.IntN(total)
	deed := c.deeds[0]
	for _, d := range c.deeds {
		if n -= d.weight; n < 0 {
			deed = d
			break
		}
	}
	o := &chaosOrder{Do: deed.name, Payload: chaosNoise[:c.size()], Reply: c.size()}
	if deed.max > 0 {
		o.For = time.Duration(c.rng.Int64N(int64(deed.max)))
	}
	return o, deed
}

// chaosNoise is what payloads are cut from.
var chaosNoise = func() []byte {
	b := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}()

// size makes up the size of an argument or a result: mostly small, sometimes larger than any socket's buffer.
func (c *chaosCaller) size() int {
	switch n := c.rng.IntN(100); {
	case n < 90:
		return c.rng.IntN(200)
	case n < 99:
		return c.rng.IntN(64 << 10)
	}
	return c.rng.IntN(len(chaosNoise))
}

// chaosPatience is how long a call may take.
type chaosPatience struct {
	timeout time.Duration
	after   time.Duration // its context ends so long after the call; 0: never
	cancel  bool          // by being canceled, not by its deadline
}

// patience makes up how long a call may take.
func (c *chaosCaller) patience(d chaosDeed) chaosPatience {
	timeouts := []time.Duration{3 * time.Second, 3 * time.Second, 3 * time.Second, time.Second, 300 * time.Millisecond}
	if d.sticks {
		timeouts = []time.Duration{60 * time.Millisecond, 60 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 3 * time.Second}
	}
	p := chaosPatience{timeout: timeouts[c.rng.IntN(len(timeouts))]}
	n, after := c.rng.IntN(100), time.Duration(c.rng.Int64N(int64(200*time.Millisecond)))
	switch {
	case c.strict:
		return chaosPatience{timeout: 20 * time.Second}
	case n < 10:
		p.after = after
	case n < 20:
		p.after, p.cancel = after, true
	}
	return p
}

// begin returns the context for a call that begins now, and when that ends, if it does.
func (p chaosPatience) begin(now time.Time) (context.Context, context.CancelFunc, time.Time) {
	if p.after == 0 {
		return context.Background(), func() {}, time.Time{}
	}
	if !p.cancel {
		ctx, cancel := context.WithTimeout(context.Background(), p.after)
		return ctx, cancel, now.Add(p.after)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t := time.AfterFunc(p.after, cancel)
	return ctx, func() { t.Stop(); cancel() }, now.Add(p.after)
}

// chaosEarlier returns the earlier of two times, of which b may be none.
func chaosEarlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// call makes a call on the pool.
func (c *chaosCaller) call() {
	o, deed := c.order()
	p := c.patience(deed)
	o.Nonce = c.ledger.nonce()
	begin := time.Now()
	ctx, cancel, over := p.begin(begin)
	defer cancel()
	answer, err := chaosCall.Call(ctx, c.pool.With(pool.CheckoutConfig{Timeout: p.timeout}), *o)
	c.settle(&chaosResult{order: o, answer: answer, err: err, deadline: chaosEarlier(begin.Add(p.timeout), over), end: time.Now(),
		harmless: !deed.harm && p.after == 0}, deed)
}

// settle notes a call's end, and what it leaves behind.
func (c *chaosCaller) settle(r *chaosResult, d chaosDeed) {
	if d.harm {
		c.ledger.fault("call: " + d.name)
		if r.err == nil {
			c.ledger.harm(r.answer.Worker)
		}
	}
	r.strict, r.unknown = c.strict, c.unknown
	c.ledger.settle(r)
}

// several makes some calls on the pool at once.
func (c *chaosCaller) several(n int) {
	var all sync.WaitGroup
	for range n {
		o, deed := c.order()
		p := c.patience(deed)
		o.Nonce = c.ledger.nonce()
		begin := time.Now()
		ctx, cancel, over := p.begin(begin)
		pending := chaosCall.Go(ctx, c.pool.With(pool.CheckoutConfig{Timeout: p.timeout}), *o)
		all.Go(func() {
			defer cancel()
			answer, err := pending.Wait()
			c.settle(&chaosResult{order: o, answer: answer, err: err, deadline: chaosEarlier(begin.Add(p.timeout), over), end: time.Now(),
				harmless: !deed.harm && p.after == 0}, deed)
		})
	}
	all.Wait()
}
