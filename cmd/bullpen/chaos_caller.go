//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

// chaosDeed is something that a call can want, and how often it does.
type chaosDeed struct {
	name   string
	weight int
	harm   bool          // its call, or its worker, is not expected to do well
	sticks bool          // it ends with its caller's patience only
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
	{name: "loop later", weight: 2, harm: true, max: 5 * time.Millisecond},
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

// chaosHeld are the calls of a checkout.
type chaosHeld struct {
	orders   []*chaosOrder
	deeds    []chaosDeed
	patience []chaosPatience
	queued   bool // all are queued at once
	timeout  time.Duration
	harmless bool

	interrupt string        // what the caller does while they run: "", "abort", "release" or "drop"
	after     time.Duration // and when
	at        atomic.Pointer[time.Time]
}

// plan makes up the calls of a checkout.
func (c *chaosCaller) plan() *chaosHeld {
	h := &chaosHeld{queued: c.rng.IntN(2) == 0, harmless: true}
	for range 1 + c.rng.IntN(6) {
		o, deed := c.order()
		p := c.patience(deed)
		h.orders, h.deeds, h.patience = append(h.orders, o), append(h.deeds, deed), append(h.patience, p)
		if h.timeout = p.timeout; deed.harm || p.after > 0 {
			h.harmless = false
		}
	}
	n := c.rng.IntN(100)
	h.after = time.Duration(c.rng.Int64N(int64(30 * time.Millisecond)))
	switch {
	case c.strict:
	case n < 8:
		h.interrupt = "abort"
	case n < 16:
		h.interrupt = "release"
	case n < 18:
		h.interrupt = "drop"
	}
	if h.interrupt != "" {
		h.harmless = false
	}
	return h
}

var chaosCheckouts atomic.Uint64

// checkout makes calls on a worker that it holds.
func (c *chaosCaller) checkout() {
	h := c.plan()
	view := c.pool.With(pool.CheckoutConfig{Timeout: h.timeout})
	deadline := time.Now().Add(h.timeout)
	co, err := view.Checkout(context.Background())
	c.ledger.waited(err, deadline, time.Now(), c.strict)
	if err != nil {
		return
	}
	stop := h.interruptLater(co)
	defer stop()
	number := chaosCheckouts.Add(1)
	for i, o := range h.orders {
		o.Nonce, o.Checkout, o.Seq = c.ledger.nonce(), number, i+1
	}
	if h.queued {
		c.callQueued(h, co)
	} else {
		c.callInTurn(h, co)
	}
	if h.interrupt == "drop" {
		c.ledger.fault("checkout dropped")
		return
	}
	co.Release()
}

// interruptLater does what the plan wants done while the calls run.
func (h *chaosHeld) interruptLater(co *pool.Checkout) (stop func()) {
	if h.interrupt != "abort" && h.interrupt != "release" {
		return func() {}
	}
	t := time.AfterFunc(h.after, func() {
		now := time.Now()
		h.at.Store(&now)
		if h.interrupt == "abort" {
			co.Abort(errChaosAbort)
		} else {
			co.Release()
		}
	})
	return func() { t.Stop() }
}

// until returns when a call must have ended: at its deadline, or when its checkout was.
func (h *chaosHeld) until(deadline, begin time.Time) time.Time {
	at := h.at.Load()
	if at == nil || at.After(deadline) {
		return deadline
	}
	if at.Before(begin) {
		return begin
	}
	return *at
}

// callInTurn makes one call when the one before has ended.
func (c *chaosCaller) callInTurn(h *chaosHeld, co *pool.Checkout) {
	for i, o := range h.orders {
		begin := time.Now()
		ctx, cancel, over := h.patience[i].begin(begin)
		answer, err := chaosCall.Call(ctx, co, *o)
		end := time.Now()
		cancel()
		deadline := h.until(chaosEarlier(begin.Add(h.timeout), over), begin)
		c.settle(&chaosResult{order: o, answer: answer, err: err, deadline: deadline, end: end, harmless: h.harmless}, h.deeds[i])
	}
}

// callQueued queues all calls at once. Each one's time begins when it is the first in the queue; only its context's began
// when it was queued.
func (c *chaosCaller) callQueued(h *chaosHeld, co *pool.Checkout) {
	pending := make([]*wire.Pending[chaosAnswer], len(h.orders))
	contexts := make([]time.Time, len(h.orders))
	begin := time.Now()
	for i, o := range h.orders {
		ctx, cancel, over := h.patience[i].begin(time.Now())
		defer cancel()
		contexts[i] = over
		pending[i] = chaosCall.Go(ctx, co, *o)
	}
	ends := chaosEnds(pending)
	for i, o := range h.orders {
		answer, err := pending[i].Wait()
		end := <-ends[i]
		deadline := h.until(chaosEarlier(begin.Add(h.timeout), contexts[i]), begin)
		c.settle(&chaosResult{order: o, answer: answer, err: err, deadline: deadline, end: end, harmless: h.harmless}, h.deeds[i])
		begin = end
	}
}

// chaosEnds returns when each call has ended.
func chaosEnds(pending []*wire.Pending[chaosAnswer]) []chan time.Time {
	ends := make([]chan time.Time, len(pending))
	for i, p := range pending {
		ends[i] = make(chan time.Time, 1)
		go func() {
			<-p.Done()
			ends[i] <- time.Now()
		}()
	}
	return ends
}
