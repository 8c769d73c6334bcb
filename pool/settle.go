package pool

import (
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// settle tells a worker that its checkout was released, and has it back when it says that its CheckoutDone hook has
// run. The JSON wire has no such answer: there the worker is free at once.
func (p *Pool) settle(w *worker) {
	if p.config.Wire == wire.JSON {
		if err := w.conn.Write(&wire.Message{Type: wire.TypeDn}); err != nil {
			w.end = endDied
		}
		p.sort(w)
		return
	}
	p.work.Add(1)
	go func() {
		defer p.work.Done()
		if err := w.settled(); err != nil {
			if p.ctx.Err() == nil {
				p.config.Logger.Warn("a worker was ended after its release", "pool", p.config.Name, "pid", w.pid(), "error", err)
			}
			w.kill("it did not acknowledge its release")
			p.discard(w, endHook)
			return
		}
		p.sort(w)
	}()
}

// settled sends dn, unless the last call has said so, and waits for the acknowledgement.
func (w *worker) settled() error {
	now := time.Now()
	var deadline time.Time
	if t := w.pool.config.Timeout; t > 0 {
		deadline = now.Add(t)
	}
	w.stream.begin(w.pool.ctx, now, deadline)
	defer w.stream.done()
	if !w.out.Last {
		w.out = wire.Message{Type: wire.TypeDn}
		if err := w.conn.Write(&w.out); err != nil {
			return err
		}
	}
	w.out.Last = false
	if err := w.conn.Read(&w.in); err != nil {
		return err
	}
	if w.in.Type != wire.TypeAck {
		return &wire.ProtocolError{Message: "the worker answered a release with " + w.in.Type.String()}
	}
	return nil
}
