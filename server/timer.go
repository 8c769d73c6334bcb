package server

import (
	"context"
	"strings"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// Timer measures a part of the call that ctx belongs to, until stop is called, or until the handler has returned. It
// travels back with the reply as the log records do: an AnyEvent::Task client merges it into its Log::Defer object, and a
// pool logs it at debug level. In a context that isn't a call's it does nothing.
func Timer(ctx context.Context, name string) (stop func()) {
	c, ok := ctx.Value(keyCall).(*callContext)
	if !ok {
		return func() {}
	}
	l := c.log()
	t := &wire.LogTimer{Name: strings.ToValidUTF8(name, "\uFFFD"), From: time.Since(l.start).Seconds()}
	l.mu.Lock()
	if !l.over {
		l.timers = append(l.timers, t)
	}
	l.mu.Unlock()
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if t.To == 0 && !l.over {
			t.To = time.Since(l.start).Seconds()
		}
	}
}

// stopped returns the timers, none of which runs any more. The caller holds mu.
func (l *callLog) stopped() (all []wire.LogTimer) {
	for _, t := range l.timers {
		if t.To == 0 {
			t.To = time.Since(l.start).Seconds()
		}
		all = append(all, *t)
	}
	l.timers = nil
	return all
}

// merge adds what another program has logged for the call.
func (c *callContext) merge(d *wire.LogDefer) {
	l := c.log()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	later := 0.0 // that its clock began
	if d.Start != 0 {
		later = d.Start - epoch(l.start)
	}
	for _, r := range d.Logs {
		r.Offset += later
		l.recs = append(l.recs, r)
	}
	for _, t := range d.Timers {
		t.From += later
		if t.To != 0 {
			t.To += later
		}
		l.timers = append(l.timers, &t)
	}
}
