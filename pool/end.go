package pool

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// kill ends the worker, whatever it does. If it is dead, and somebody waits to be told how it died, that wait ends.
func (w *worker) kill(why string) {
	w.nc.Close()
	w.endAsking()
	if w.life != nil {
		w.life.Kill(why)
	}
}

// dismiss takes the worker out of the pool, for the given reason, and ends it, whatever it does.
func (w *worker) dismiss(reason, why string) {
	w.pool.expel(w, reason)
	w.kill(why)
}

// abandon ends a worker when the app's own code has panicked in the middle of a call.
func (w *worker) abandon() {
	w.stream.done()
	w.end = endCaller
	w.dismiss(endCaller, "its caller panicked")
}

// A dead worker's server tells within a millisecond how it died, unless the machine is overloaded. It may take
// exitWait, or as long as the call has time still, if that is more; but no longer than exitMax. After that the worker is
// killed: it has closed its connection and lives on. Then the server may take half of that.
const (
	exitWait = 100 * time.Millisecond
	exitMax  = time.Second
)

// exit asks how the worker ended.
func (w *worker) exit() *wire.Exit {
	type asker interface {
		askExit(context.Context, wire.Ask) *wire.Exit
	}
	hello := w.hello.Load()
	if nc, ok := w.nc.(asker); ok && hello.Pid != 0 {
		e := w.exitWithin(exitWait, func(ctx context.Context) *wire.Exit {
			return nc.askExit(ctx, wire.Ask{Pid: hello.Pid, Number: hello.Number})
		})
		if e != nil {
			return e
		}
	}
	if w.life != nil {
		if e := w.exitWithin(exitWait, w.life.Exit); e != nil {
			return e
		}
		w.life.Kill("it closed its connection")
		if e := w.exitWithin(exitWait/2, w.life.Exit); e != nil {
			return e
		}
	}
	return &wire.Exit{Pid: hello.Pid, Number: hello.Number, Code: -1}
}

// exitWithin asks how the worker ended, for as long as the call has time still, or for least if that is more.
func (w *worker) exitWithin(least time.Duration, ask func(context.Context) *wire.Exit) *wire.Exit {
	ctx, patience := w.stream.ctx, exitMax
	if ctx == nil { // a hello
		ctx = w.pool.ctx
	} else if d := w.stream.deadline; d != 0 {
		patience = max(min(patience, d.since(now())), least)
	}
	if ctx.Err() != nil {
		ctx, patience = context.Background(), least
		if w.stream.canceled { // its caller has waited for the handler's grace already
			patience = least / 4
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer context.AfterFunc(w.asking, cancel)()
	return ask(ctx)
}

// died describes the end of the worker under a call. err is what the connection said.
func (w *worker) died(err error, method string, log func(*wire.LogDefer, int)) error {
	w.end = endDied
	w.pool.expel(w, endDied)
	w.nc.Close()
	e := w.exit()
	if e.Logs != nil && log != nil {
		log(e.Logs, e.Pid)
	}
	if e.Reason == wire.ExitSetup {
		return &wire.SetupError{Message: e.Detail, Pid: e.Pid}
	}
	return &WorkerDiedError{Pool: w.pool.config.Name, Method: method, Pid: max(e.Pid, w.hello.Load().Pid), Exit: e, Unread: w.unread(err), Err: err}
}

// unread reports whether the connection's error proves that the worker never read the call. A unix socket that is closed
// with something unread in it resets the other side; one that was read to its end does not. On the JSON wire that proves
// nothing: the newline behind a call may be left unread.
func (w *worker) unread(err error) bool {
	json := w.conn.Kind() == wire.JSON
	if w.unmet { // a worker says hello before it reads on
		return true
	}
	if end := w.stream.lane; end != nil && !w.stream.writing { // what it has read is known once it is dead
		return !w.stream.canceled && !w.stream.corrupt && w.life.Exit(over) != nil && end.Unread()
	}
	if w.stream.writing { // the call did not even fit into the socket, or there was nobody to take it
		return !json || !w.stream.begun
	}
	if _, unix := w.nc.LocalAddr().(*net.UnixAddr); !unix || w.stream.canceled || json {
		return false
	}
	return errors.Is(err, syscall.ECONNRESET)
}
