package server

import (
	"errors"
	"io"
	"runtime/debug"
	"time"

	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/wire"
)

// transport is the byte stream to the client: its socket, or the memory that it shares. Package wire reads and writes messages
// on it.
type transport interface {
	io.ReadWriter
	// Interrupt has a Read that waits, and every later one, return errInterrupted without taking a byte; or the one that waits
	// returns what has come at that moment. A Write goes on.
	Interrupt()
	// Resume ends the effect of Interrupt.
	Resume()
	// Park has the next Read wait without keeping others from running.
	Park()
	// Arrived returns when the last Read returned, on the clock of the scoreboard, and forgets it: 0 if there was no Read
	// since it was last asked.
	Arrived() int64
}

var errInterrupted = errors.New("interrupted")

// serve answers calls until the client closes the connection, and returns why it ended. setup is the error of the
// Setup hook, or nil.
//
// States of a connection here; PROTOCOL.md has the client's side:
//
//	idle     do → running   dn → hook   end of stream → ended
//	running  reply → idle, or with Last → hook
//	hook     ack → idle
func (w *worker) serve(kind wire.Kind, setup *wire.SetupError) (wire.ExitReason, string) {
	w.open(kind)
	w.enter(scoreboard.Starting)
	if reason, detail, ok := w.greet(kind, setup); !ok {
		return reason, detail
	}
	w.slot.Rest()
	if w.greeted != nil {
		w.greeted()
	}
	var m wire.Message
	told := false // a failed setup's error has been told once; now each call tries again
	for {
		if err := w.next(&m); err != nil {
			return ended(err)
		}
		if m.Type == wire.TypeDo && told && setup != nil {
			setup = w.setupAgain()
		}
		var err error
		switch {
		case m.Type == wire.TypeDo && setup != nil:
			told = true
			err = w.respond(&m, nil, errors.New("setup exception: "+setup.Message))
		case m.Type == wire.TypeDo:
			err = w.call(&m)
		case m.Type == wire.TypeDn:
			err = w.checkoutDone()
		case m.Type == wire.TypeCancel: // its call had ended already
		case m.Type == wire.TypeLane && w.laneable:
			err = w.takeLane()
		default:
			return wire.ExitRetired, "the client sent " + m.Type.String()
		}
		if err != nil {
			return ended(err)
		}
		if w.base.Err() != nil {
			return wire.ExitShutdown, ""
		}
	}
}

// open makes the connection's wire, unless that was done.
func (w *worker) open(kind wire.Kind) {
	if w.conn == nil || w.conn.Kind() != kind {
		w.conn = wire.NewWorkerConn(w.sock, kind, w.config.Limits.MaxMessage)
	}
}

// ended tells how a connection ended from the error of a read or a write.
func ended(err error) (wire.ExitReason, string) {
	var violation *wire.ProtocolError
	switch {
	case errors.As(err, &violation):
		return wire.ExitRetired, err.Error()
	case errors.Is(err, errShutdown):
		return wire.ExitShutdown, ""
	case errors.Is(err, errHook), errors.Is(err, errSevered):
		return wire.ExitRetired, err.Error()
	}
	return wire.ExitRetired, ""
}

var (
	errShutdown = errors.New("the server is closing")
	errHook     = errors.New("CheckoutDone failed")
	errSevered  = errors.New("the handler has closed the worker's connection")
)

// greet exchanges hellos. The JSON wire has none: a failed setup shows in each reply.
func (w *worker) greet(kind wire.Kind, setup *wire.SetupError) (wire.ExitReason, string, bool) {
	if kind == wire.JSON {
		return "", "", true
	}
	var m wire.Message
	err := w.next(&m)
	switch {
	case err != nil:
		reason, detail := ended(err)
		return reason, detail, false
	case m.Type != wire.TypeHello || m.Hello.Version != wire.Version:
		return wire.ExitRetired, "the client did not begin with a hello of this version", false
	}
	w.conn.SetMaxOut(min(m.Hello.MaxMessage, w.config.Limits.MaxMessage))
	layout := w.offerLane(m.Hello.Lane)
	w.reply = wire.Message{Type: wire.TypeHello, Hello: &wire.Hello{Version: wire.Version,
		MaxMessage: w.config.Limits.MaxMessage, Name: w.svc.name, Pid: w.config.Pid, Number: w.config.Number,
		Hook: w.svc.hooks.CheckoutDone != nil, Grace: w.config.Limits.CancelGrace, Setup: setup, Build: w.config.Build, Lane: layout}}
	if err := w.conn.Write(&w.reply); err != nil {
		return wire.ExitRetired, "", false
	}
	if setup != nil {
		return wire.ExitSetup, setup.Message, false
	}
	return "", "", true
}

// next reads the next message, unless the watch has read it already.
func (w *worker) next(m *wire.Message) error {
	w.sock.Arrived() // what was read before is of no use as the time at which this message came
	if w.watch.held(m) {
		return nil
	}
	err := w.conn.Read(m)
	if errors.Is(err, errInterrupted) { // by closing: nothing else interrupts the loop
		return errShutdown
	}
	return err
}

// call runs one call and replies.
func (w *worker) call(m *wire.Message) error {
	inv := w.invokers[m.Method]
	if inv == nil {
		inv = w.fallback
	}
	defer inv.forget()
	w.slot.ResetLog()
	w.slot.SetMethod(m.Method)
	ctx := &callContext{base: w.base, id: m.ID, meta: m.Meta}
	start := w.sock.Arrived()
	if start == 0 { // the message was here already
		start = scoreboard.Now()
	}
	if w.slot.Enter(scoreboard.Running, start) && w.wake != nil {
		w.wake()
	}
	w.watch.publish(ctx)
	if w.base.Err() != nil { // cancelAll may not have seen this call
		ctx.cancel()
	}
	use := w.meter(m)
	result, err := w.invoke(ctx, inv, m)
	w.watch.retract(ctx)
	w.reply.Run = scoreboard.Now() - start
	if w.severed(time.Duration(w.reply.Run)) {
		return errSevered
	}
	w.reply.Meta = nil
	if logs := ctx.takeLogs(); logs != nil {
		w.reply.Meta = map[string]any{wire.MetaLog: logs.Value()}
	}
	if use.wanted {
		w.reply.Meta = use.meta(w.reply.Meta)
	}
	ctx.cancel() // for what the handler left behind
	m.Forget()
	werr := w.respond(m, result, err)
	if w.conn.Large() {
		w.freeLater()
	}
	in, out := w.conn.Traffic()
	w.slot.CountCall(err != nil, in, out)
	if werr == nil && m.Last {
		return w.checkoutDone()
	}
	w.slot.Rest()
	return werr
}

// invoke runs the handler. A panic becomes an error of the call; the client retires the worker for it.
func (w *worker) invoke(ctx *callContext, inv invoker, m *wire.Message) (result any, err error) {
	w.panic = true
	defer w.recovered(&err)
	result, err = inv.invoke(ctx, m)
	w.panic = false
	return result, err
}

// recovered turns a panic into an error. After runtime.Goexit the loop's goroutine is lost, so the reply is sent from
// here and the worker ends.
func (w *worker) recovered(err *error) {
	if !w.panic {
		return
	}
	w.panic = false
	p := recover()
	*err = panicError(p)
	if p == nil && w.end != nil {
		w.reply.Meta = nil
		w.conn.Write(&wire.Message{Type: wire.TypeEr, ID: w.watch.id(), Err: (*err).(*wire.RemoteError)})
		w.end(wire.ExitExited, "a handler called runtime.Goexit")
	}
}

// respond sends the reply. A result that can't be sent becomes an error of the call.
func (w *worker) respond(m *wire.Message, result any, err error) error {
	r := &w.reply
	r.ID, r.Method = m.ID, m.Method
	if err == nil {
		w.vals[0] = result
		r.Type, r.Values, r.Err = wire.TypeOK, w.vals[:], nil
		werr := w.conn.Write(r)
		w.vals[0] = nil
		if werr == nil {
			return nil
		}
		var codec *wire.CodecError // it moves to the heap for errors.As: here, where it is rare
		if !errors.As(werr, &codec) {
			return werr
		}
		err = codec
	}
	r.Type, r.Values, r.Err = wire.TypeEr, nil, wire.NewRemoteError(err)
	werr := w.conn.Write(r)
	if werr == nil {
		return nil
	}
	var codec *wire.CodecError
	if errors.As(werr, &codec) { // the error itself is too large, or its log records can't be encoded
		r.Meta = nil
		r.Err = &wire.RemoteError{Message: codec.Error(), Type: "*wire.CodecError"}
		werr = w.conn.Write(r)
	}
	return werr
}

// freeAfter is how long after the last large message a worker gives its free memory back. Go would keep it for minutes.
const freeAfter = 10 * time.Second

func (w *worker) freeLater() {
	if w.free == nil {
		w.free = time.AfterFunc(freeAfter, debug.FreeOSMemory)
		return
	}
	w.free.Reset(freeAfter)
}

// checkoutDone runs the hook after a release, and acknowledges it.
func (w *worker) checkoutDone() error {
	w.slot.CountCheckout()
	hook := w.svc.hooks.CheckoutDone
	if hook == nil {
		w.slot.Rest()
		return nil
	}
	w.slot.SetMethod("CheckoutDone")
	w.enter(scoreboard.Hook)
	if err := w.runHook(w.base, hook); err != nil {
		return errors.Join(errHook, err)
	}
	w.slot.Rest()
	return w.conn.Write(&wire.Message{Type: wire.TypeAck})
}

// cancelAll ends the context of hooks and calls: the server is closing. The loop ends when the handler has returned.
func (w *worker) cancelAll() {
	w.stop()
	w.watch.cancelRunning()
	w.wakeup()
}

// watchAfter is how long a handler runs before a goroutine begins to read the connection beside it.
const watchAfter = 10 * time.Millisecond
