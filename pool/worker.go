package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/bullpen-go/bullpen/internal/notimeouts"
	"github.com/bullpen-go/bullpen/wire"
)

// worker is a connection to a worker process. Whoever has checked it out owns it.
type worker struct {
	pool   *Pool
	nc     net.Conn
	life   wire.Lifeline // nil if nobody knows the process
	tcp    bool
	stream stream
	conn   *wire.Conn
	silent bool // this side's hello is still to be sent; see spare
	unmet  bool // the worker's hello is still to be read

	id        uint32                     // of the last call
	checkouts int                        // up to the present one
	served    atomic.Bool                // it has replied to a call; the pool may look while somebody else holds the worker
	hello     atomic.Pointer[wire.Hello] // what it has said of itself, or noHello; the pool may look, too
	failed    bool                       // a handler returned an error in this checkout
	end       string                     // why it can't be used again, or ""
	out, in   wire.Message

	asking    context.Context // ends when nobody wants to know any more how the worker died
	endAsking context.CancelFunc
	observed  context.Context // of the checkout, for its observer; nil without one

	laneState laneState

	handle  *handle // nil while a Checkout has it
	cleanup runtime.Cleanup
	method  atomic.Pointer[string] // of the call that runs, or the last one
	since   atomic.Int64           // an instant: when the checkout began, as far as anybody has looked; 0 if nobody has

	// The pool's mu guards all below.
	leased   bool    // checked out, or on its way to it
	idleAt   instant // 0 if nobody wants to know
	recalled string  // why its dialer wants it back, or ""
	counted  bool    // by Stat, among those that ended
	summed   bool    // its lane, by Stat
}

// noHello is the hello of a worker that has said none yet, or that speaks a wire without them.
var noHello wire.Hello

// handle is what a Checkout holds while it is out. When that is dropped without Release the garbage collector finds the
// handle, and the worker is reclaimed.
type handle struct {
	w    *worker
	view *View // whose settings the checkout's calls have
}

func newWorker(p *Pool, nc net.Conn) *worker {
	w := &worker{pool: p, nc: nc}
	w.life, _ = nc.(wire.Lifeline)
	_, w.tcp = nc.LocalAddr().(*net.TCPAddr)
	w.stream.init(w, nc)
	w.conn = wire.NewClientConn(&w.stream, p.config.Wire, p.config.MaxMessage)
	w.method.Store(new(string))
	w.hello.Store(&noHello)
	w.asking, w.endAsking = context.WithCancel(context.Background())
	w.handle = &handle{w: w}
	w.cleanup = runtime.AddCleanup(w.handle, func(w *worker) { go w.pool.lost(w) }, w)
	return w
}

// hail says hello, which the worker answers once it is set up. The JSON wire has no hellos.
func (w *worker) hail() error {
	if w.pool.config.Wire == wire.JSON {
		return w.conn.Open()
	}
	maxMessage := w.pool.config.MaxMessage
	if maxMessage == 0 {
		maxMessage = wire.DefaultMaxMessage
	}
	w.unmet = true
	w.out = wire.Message{Type: wire.TypeHello, Hello: &wire.Hello{Version: wire.Version, MaxMessage: maxMessage, Name: w.pool.config.Name}}
	if w.canLane() {
		w.out.Hello.Lane = wire.LaneLayout
	}
	return w.conn.Write(&w.out)
}

// meet reads the worker's hello, unless that was done.
func (w *worker) meet() error {
	if !w.unmet {
		return nil
	}
	err := w.conn.Read(&w.in)
	switch {
	case err != nil:
		return err
	case w.in.Type != wire.TypeHello || w.in.Hello.Version != wire.Version:
		return &wire.ProtocolError{Message: "the worker did not answer with a hello of this version"}
	case w.in.Hello.Setup != nil:
		return w.in.Hello.Setup
	}
	w.unmet = false
	hello := *w.in.Hello
	if w.pool.config.untimed {
		hello.Grace = notimeouts.Forever
	}
	w.conn.SetMaxOut(hello.MaxMessage)
	w.laneState.possible = hello.Lane == wire.LaneLayout && w.canLane()
	w.hello.Store(&hello)
	return nil
}

// notReady tells why a worker ended before it said hello, or with it.
func (w *worker) notReady(err error) error {
	var setup *wire.SetupError
	var violation *wire.ProtocolError
	if errors.As(err, &setup) || errors.As(err, &violation) {
		return err
	}
	if w.pool.ctx.Err() != nil {
		return ErrClosed
	}
	died := w.died(err, "", nil)
	var d *WorkerDiedError
	if errors.As(died, &d) && w.life == nil { // a server that closes at once is as good as none
		return fmt.Errorf("the connection ended before the worker was ready: %w", err)
	}
	return died
}

// watchEnd has the worker taken out of the pool when its dialer says that it has ended or is wanted back.
func (w *worker) watchEnd() {
	if w.life == nil {
		return
	}
	w.life.OnRetire(func() { w.pool.recall(w) })
}

// recall takes a worker out of the pool: now if it is idle or has died, and at its release otherwise.
func (p *Pool) recall(w *worker) {
	e := w.life.Exit(over)
	p.mu.Lock()
	w.recalled = endRecalled
	if e != nil && e.Reason != wire.ExitShutdown {
		w.recalled = endDied
	}
	idle := !w.leased
	switch {
	case idle:
		p.drop(w, w.recalled)
		if w.recalled == endDied && !w.served.Load() && e.Reason != wire.ExitServerDied { // it slows its own replacement
			p.failed(&WorkerDiedError{Pool: p.config.Name, Pid: e.Pid, Exit: e, Unread: true})
		}
	case e != nil:
		p.drop(w, "") // whoever holds it will see why
	}
	p.grow()
	p.checkDrained()
	p.mu.Unlock()
	if idle {
		w.close()
	}
}

// over is a context that has ended.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// lost reclaims the worker of a Checkout that was dropped without Release.
func (p *Pool) lost(w *worker) {
	if w.observed != nil {
		p.checkoutEnd(w, endLost)
	}
	if p.ctx.Err() != nil { // Close has ended the worker
		p.discard(w, endClosed)
		return
	}
	p.config.Logger.Error("a checkout was dropped without Release; its worker was ended", "pool", p.config.Name, "pid", w.pid(), "last method", w.running())
	w.dismiss(endLost, "its checkout was dropped without Release")
	w.close()
}

// stale reports whether the worker may be dead unnoticed: it was idle for long, or is reached over TCP, where a call that
// is sent to a dead worker is lost. The caller holds the pool's mu.
func (w *worker) stale() bool {
	return w.life == nil && w.idleAt != 0 && (w.tcp || now().since(w.idleAt) > time.Second)
}

// usable reports whether calls can be made on the worker in its present checkout.
func (w *worker) usable() bool { return w.end == "" || w.end == endPanic || w.end == endSetup }

// tell reports whether the worker, which is being released, is to be told so. An AnyEvent::Task client doesn't tell
// those that it ends.
func (w *worker) tell() bool {
	if w.pool.config.Wire == wire.JSON {
		return w.end == "" && (!w.failed || w.pool.config.ReuseAfterError)
	}
	return w.usable() && w.hello.Load().Hook
}

// spent returns why a worker can't be used for another checkout, or "".
func (w *worker) spent() string {
	max := w.pool.config.MaxCheckouts
	switch {
	case w.end != "":
		return w.end
	case w.failed && !w.pool.config.ReuseAfterError:
		return endError
	case max > 0 && w.checkouts >= max:
		return endCheckouts
	}
	return ""
}

// pid is 0 before the worker's hello. It may be asked by anybody, as running may.
func (w *worker) pid() int        { return w.hello.Load().Pid }
func (w *worker) running() string { return *w.method.Load() }

// close closes the connection: an idle worker ends itself then.
func (w *worker) close() {
	w.cleanup.Stop()
	w.nc.Close()
	w.closeLane()
}
