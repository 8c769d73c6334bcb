package pool

import (
	"errors"

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
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.discard(w, endClosed)
		return
	}
	p.work.Add(1)
	p.mu.Unlock()
	go func() {
		defer p.work.Done()
		if err := w.settled(); err != nil {
			w.unsettled(err)
		}
		w.stream.done()
		p.sort(w)
	}()
}

// unsettled ends a worker that did not acknowledge its release, and reports how that came.
func (w *worker) unsettled(err error) {
	if w.pool.ctx.Err() != nil {
		w.end = endClosed
		w.kill("its pool was closed")
		return
	}
	var violation *wire.ProtocolError
	if errors.Is(err, errGaveUp) || errors.As(err, &violation) {
		w.end = endHook
		w.dismiss(endHook, "it did not acknowledge its release")
	} else {
		w.pool.expel(w, endHook)
		err = w.died(err, hookName, nil)
	}
	w.pool.config.Logger.Warn("a worker ended after its release", "pool", w.pool.config.Name, "pid", w.pid(), "error", err)
}

const hookName = "CheckoutDone" // stands for a method in errors

// settled sends dn, unless the last call has said so, and waits for the acknowledgement.
func (w *worker) settled() error {
	at := now()
	var deadline instant
	if t := w.pool.config.Timeout; t > 0 {
		deadline = at.add(t)
	}
	w.stream.begin(w.pool.ctx, at, deadline)
	if !w.out.Last {
		w.out = wire.Message{Type: wire.TypeDn}
		if err := w.conn.Write(&w.out); err != nil {
			return err
		}
	}
	w.out.Last = false
	w.stream.written()
	if err := w.conn.Read(&w.in); err != nil {
		return err
	}
	if w.in.Type != wire.TypeAck {
		return &wire.ProtocolError{Message: "the worker answered a release with " + w.in.Type.String()}
	}
	return nil
}
