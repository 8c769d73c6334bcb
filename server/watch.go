package server

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// watch looks, beside a handler that has run for a moment, whether the client cancels the call or has gone. A short
// call costs it two atomic stores: one timer serves all calls, and only its own callback sets it again.
type watch struct {
	w       *worker
	current atomic.Pointer[callContext] // the call that runs, or nil
	armed   atomic.Bool                 // the timer is set
	timer   *time.Timer
	seen    *callContext  // by the timer's last callback
	stopped chan struct{} // closed when the reading goroutine has returned; the loop waits for it

	mu     sync.Mutex    // guards all below
	ahead  *wire.Message // read by the watch, but meant for the loop
	grace  *time.Timer   // ends the worker if the handler doesn't return
	cancel time.Time     // when the running call was cancelled
}

func (v *watch) start(w *worker) {
	v.w = w
	v.timer = time.AfterFunc(time.Hour, v.tick)
	v.timer.Stop()
}

// publish shows the watch the call that begins.
func (v *watch) publish(ctx *callContext) {
	v.current.Store(ctx)
	if !v.armed.Load() {
		v.armed.Store(true)
		v.timer.Reset(watchAfter)
	}
}

// retract takes the call back. If the watch reads the connection, it waits until that has stopped.
func (v *watch) retract(ctx *callContext) {
	v.current.Store(nil)
	if ctx.phase.CompareAndSwap(running, finished) {
		return
	}
	v.w.sock.Interrupt()
	<-v.stopped
	v.w.sock.Resume()
	ctx.phase.Store(finished)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.grace != nil {
		v.grace.Stop()
		v.grace = nil
	}
	v.cancel = time.Time{}
}

// tick is the timer's callback.
func (v *watch) tick() {
	ctx := v.current.Load()
	if ctx == nil && v.seen == nil { // nothing for two ticks: the next call sets the timer
		v.armed.Store(false)
		if ctx = v.current.Load(); ctx == nil || !v.armed.CompareAndSwap(false, true) {
			return
		}
	}
	if ctx != nil && ctx == v.seen && ctx.phase.Load() == running {
		stopped := make(chan struct{})
		v.stopped = stopped
		if ctx.phase.CompareAndSwap(running, watched) {
			go v.read(ctx, stopped)
		}
	}
	v.seen = ctx
	v.timer.Reset(watchAfter)
}

// read reads the connection while the handler runs.
func (v *watch) read(ctx *callContext, stopped chan struct{}) {
	defer close(stopped)
	v.w.sock.Park()
	for {
		m := new(wire.Message)
		err := v.w.conn.Read(m)
		switch {
		case errors.Is(err, errInterrupted):
			return
		case err != nil: // the client has gone
			v.cancelCall(ctx, "its client has gone")
			return
		case m.Type == wire.TypeCancel:
			if m.ID == ctx.id {
				ctx.cancel()
				v.mu.Lock()
				v.cancel = time.Now()
				v.mu.Unlock()
			}
		default: // a client that doesn't wait for its reply: the message's turn comes
			v.mu.Lock()
			v.ahead = m
			v.mu.Unlock()
			return
		}
	}
}

// cancelCall cancels the call, and ends the worker if the handler doesn't return within the grace that is left.
func (v *watch) cancelCall(ctx *callContext, why string) {
	ctx.cancel()
	v.mu.Lock()
	defer v.mu.Unlock()
	left := v.w.config.Limits.CancelGrace
	if !v.cancel.IsZero() {
		left -= time.Since(v.cancel)
	}
	v.grace = time.AfterFunc(max(left, 0), func() { v.w.end(wire.ExitCanceled, why) })
}

// cancelRunning cancels the call that runs, if any.
func (v *watch) cancelRunning() {
	if ctx := v.current.Load(); ctx != nil {
		ctx.cancel()
	}
}

// held takes the message that the watch has read ahead.
func (v *watch) held(m *wire.Message) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ahead == nil {
		return false
	}
	*m, v.ahead = *v.ahead, nil
	return true
}

// id returns the id of the call that runs.
func (v *watch) id() uint32 {
	if ctx := v.current.Load(); ctx != nil {
		return ctx.id
	}
	return 0
}
