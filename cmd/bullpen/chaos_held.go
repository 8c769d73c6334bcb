//go:build linux

package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

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
