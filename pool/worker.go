package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// worker is a connection to a worker process. Whoever has checked it out owns it.
type worker struct {
	pool   *Pool
	nc     net.Conn
	life   wire.Lifeline // nil if nobody knows the process
	stream stream
	conn   *wire.Conn
	hello  wire.Hello

	id        uint32 // of the last call
	checkouts int    // up to the present one
	served    bool   // it has replied to a call
	failed    bool   // a handler returned an error in this checkout
	end       string // why it can't be used again, or ""
	out, in   wire.Message

	handle  *handle // nil while a Checkout has it
	cleanup runtime.Cleanup
	method  atomic.Pointer[string] // of the call that runs, or the last one
	idleAt  time.Time              // guarded by the pool's mu, like the two below
	since   time.Time              // of the checkout; zero while idle
	wanted  bool                   // back, by its dialer
}

// handle is what a Checkout holds while it is out. When that is dropped without Release the garbage collector finds the
// handle, and the worker is reclaimed.
type handle struct{ w *worker }

func newWorker(p *Pool, nc net.Conn) *worker {
	w := &worker{pool: p, nc: nc}
	w.life, _ = nc.(wire.Lifeline)
	w.stream.nc = nc
	w.stream.w = w
	w.conn = wire.NewClientConn(&w.stream, p.config.Wire, p.config.MaxMessage)
	w.method.Store(new(string))
	w.handle = &handle{w}
	w.cleanup = runtime.AddCleanup(w.handle, func(w *worker) { go w.pool.lost(w) }, w)
	return w
}

// greet exchanges hellos. The JSON wire has none.
func (w *worker) greet() error {
	if w.pool.config.Wire == wire.JSON {
		return w.conn.Open()
	}
	maxMessage := w.pool.config.MaxMessage
	if maxMessage == 0 {
		maxMessage = wire.DefaultMaxMessage
	}
	w.out = wire.Message{Type: wire.TypeHello, Hello: &wire.Hello{Version: wire.Version, MaxMessage: maxMessage, Name: w.pool.config.Name}}
	err := w.conn.Write(&w.out)
	if err == nil {
		err = w.conn.Read(&w.in)
	}
	switch {
	case err != nil:
		return w.notReady(err)
	case w.in.Type != wire.TypeHello || w.in.Hello.Version != wire.Version:
		return &wire.ProtocolError{Message: "the worker did not answer with a hello of this version"}
	case w.in.Hello.Setup != nil:
		return w.in.Hello.Setup
	}
	w.hello = *w.in.Hello
	w.conn.SetMaxOut(w.hello.MaxMessage)
	return nil
}

// notReady tells why a worker ended before it said hello.
func (w *worker) notReady(err error) error {
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

// recall takes a worker out of the pool: now if it is idle, and at its release otherwise.
func (p *Pool) recall(w *worker) {
	p.mu.Lock()
	w.wanted = true
	idle := w.since.IsZero()
	if idle {
		p.gone(w)
		p.grow()
		p.checkDrained()
	}
	p.mu.Unlock()
	if idle {
		w.close()
	}
}

// gone drops an idle worker that has ended, or is wanted back. One that died before it has served a call slows its own
// replacement. The caller holds mu.
func (p *Pool) gone(w *worker) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	e := w.life.Exit(ended)
	if e == nil {
		p.drop(w, endRecalled)
		return
	}
	p.drop(w, endDied)
	if !w.served {
		p.failed(&WorkerDiedError{Pool: p.config.Name, Pid: e.Pid, Exit: e, Unread: true})
	}
}

// lost reclaims the worker of a Checkout that was dropped without Release.
func (p *Pool) lost(w *worker) {
	p.config.Logger.Error("a checkout was dropped without Release; its worker was ended", "pool", p.config.Name, "pid", w.pid(), "last method", w.running())
	w.kill("its checkout was dropped without Release")
	p.discard(w, endLost)
}

// lease begins a checkout. It reports whether the worker was idle so long that it may be dead unnoticed. The caller
// holds the pool's mu.
func (w *worker) lease(now time.Time) (stale bool) {
	stale = w.life == nil && !w.idleAt.IsZero() && now.Sub(w.idleAt) > time.Second
	w.since = now
	w.checkouts++
	w.failed = false
	return stale
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

func (w *worker) pid() int        { return w.hello.Pid }
func (w *worker) running() string { return *w.method.Load() }

// close closes the connection: an idle worker ends itself then.
func (w *worker) close() {
	w.cleanup.Stop()
	w.nc.Close()
}

// kill ends the worker, whatever it does.
func (w *worker) kill(why string) {
	w.nc.Close()
	if w.life != nil {
		w.life.Kill(why)
	}
}

// exitWait is how long a dead worker's server may take to tell how it died. exitPatience later the worker is killed: it
// has closed its connection and lives on.
const (
	exitPatience = 50 * time.Millisecond
	exitWait     = 150 * time.Millisecond
)

// exit asks how the worker ended.
func (w *worker) exit() *wire.Exit {
	unknown := &wire.Exit{Pid: w.hello.Pid, Number: w.hello.Number, Code: -1}
	type asker interface {
		askExit(context.Context, wire.Ask) *wire.Exit
	}
	if nc, ok := w.nc.(asker); ok && w.hello.Pid != 0 {
		ctx, cancel := context.WithTimeout(context.Background(), exitPatience+exitWait)
		defer cancel()
		if e := nc.askExit(ctx, wire.Ask{Pid: w.hello.Pid, Number: w.hello.Number}); e != nil {
			return e
		}
	}
	if w.life == nil {
		return unknown
	}
	for _, patience := range []time.Duration{exitPatience, exitWait} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		e := w.life.Exit(ctx)
		cancel()
		if e != nil {
			return e
		}
		w.life.Kill("it closed its connection")
	}
	return unknown
}

// died describes the end of the worker under a call. err is what the connection said.
func (w *worker) died(err error, method string, log func(*wire.LogDefer, int)) error {
	w.end = endDied
	w.nc.Close()
	e := w.exit()
	if e.Logs != nil && log != nil {
		log(e.Logs, e.Pid)
	}
	if e.Reason == wire.ExitSetup {
		return &wire.SetupError{Message: e.Detail, Pid: e.Pid}
	}
	return &WorkerDiedError{Pool: w.pool.config.Name, Method: method, Pid: max(e.Pid, w.hello.Pid), Exit: e, Unread: w.unread(err), Err: err}
}

// unread reports whether the connection's error proves that the worker never read the call. A unix socket that is closed
// with something unread in it resets the other side; one that was read to its end does not.
func (w *worker) unread(err error) bool {
	if w.stream.writing {
		return true // the call did not even fit into the socket, or there was nobody to take it
	}
	if _, unix := w.nc.LocalAddr().(*net.UnixAddr); !unix || w.stream.canceled {
		return false
	}
	return errors.Is(err, syscall.ECONNRESET)
}
