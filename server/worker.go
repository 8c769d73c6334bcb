package server

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/wire"
)

// workerConfig is what a server tells a worker to be.
type workerConfig struct {
	Service   string `cbor:"1,keyasint"`
	Number    int    `cbor:"2,keyasint"`
	Slot      int    `cbor:"3,keyasint"`
	Limits    Limits `cbor:"4,keyasint"`
	SetupData []byte `cbor:"5,keyasint,omitempty"`
	Build     string `cbor:"6,keyasint,omitempty"`
	App       int    `cbor:"7,keyasint,omitempty"` // the pid of a server process's app
	Pid       int    `cbor:"-"`
}

// worker is the worker's side of a connection: it sets up, and then serves one call at a time.
type worker struct {
	svc      *Service
	config   workerConfig
	slot     *scoreboard.Slot
	base     context.Context // of hooks and calls; lives as long as the worker
	stop     context.CancelFunc
	invokers map[string]invoker
	fallback invoker
	relay    *relay // nil unless a command does the work

	// ready tells the server that the worker is set up.
	ready func()
	// greeted is called before the first call is read. It may be nil.
	greeted func()
	// wake tells the server's hung watch that a call has begun while it slept.
	wake func()
	// log passes records that belong to no call to the server's logger. It may be nil.
	log func(hclog.Level, string, map[string]any)
	// end ends the worker. It does not return.
	end func(wire.ExitReason, string)
	// died ends the worker as its command has ended. It does not return.
	died func(detail string, how *os.ProcessState)

	sock     transport
	laneable bool   // the client may offer shared memory
	shared   sharer // sock, once the client has; nil before
	wakeup   func() // interrupts sock
	conn     *wire.Conn
	watch    watch
	free     *time.Timer // gives memory back; nil before the first large message
	reply    wire.Message
	vals     [1]any
	panic    bool // the last hook or handler panicked
}

// newWorker makes a worker of the service. It may not serve before setup.
func newWorker(svc *Service, config workerConfig, slot *scoreboard.Slot) *worker {
	w := &worker{svc: svc, config: config, slot: slot, invokers: map[string]invoker{}}
	ctx, stop := context.WithCancel(context.Background())
	w.base, w.stop = context.WithValue(ctx, keyWorker, w), stop
	svc.mu.Lock()
	defer svc.mu.Unlock()
	for name, h := range svc.handlers {
		w.invokers[name] = h()
	}
	w.fallback = unknown{svc.name}
	if svc.any != nil {
		w.fallback = catchAll(svc.any)
	}
	if svc.command != nil {
		w.relay = &relay{w: w}
		w.fallback = w.relay
	}
	w.watch.start(w)
	return w
}

// use gives the worker its connection. Whatever it is switched to later, t is what interrupts a wait for it.
func (w *worker) use(t transport) { w.sock, w.wakeup = t, t.Interrupt }

// setup runs the Setup hook. late is called, from another goroutine, if it takes too long.
func (w *worker) setup(late func(*wire.SetupError)) *wire.SetupError {
	if w.svc.hooks.Setup == nil {
		w.slot.Rest() // or the hung watch would take it for one that does not get ready
		return nil
	}
	w.enter(scoreboard.SettingUp)
	if max := w.config.Limits.SetupTimeout; max > 0 {
		t := time.AfterFunc(max, func() { late(w.setupError(fmt.Errorf("it did not return within SetupTimeout (%v)", max))) })
		defer t.Stop()
	}
	if err := w.runHook(w.base, w.svc.hooks.Setup); err != nil {
		return w.setupError(err)
	}
	w.slot.Rest()
	return nil
}

// setupAgain runs a Setup hook that has failed once more: on the JSON wire the worker lives on after its failure.
func (w *worker) setupAgain() *wire.SetupError {
	err := w.setup(func(late *wire.SetupError) { w.end(wire.ExitSetup, late.Message) })
	if err == nil && w.ready != nil {
		w.ready()
	}
	return err
}

func (w *worker) setupError(err error) *wire.SetupError {
	re := wire.NewRemoteError(err)
	return &wire.SetupError{Service: w.svc.name, Message: re.Message, Type: re.Type, Code: re.Code, Stack: re.Stack, Pid: w.config.Pid}
}

// runHook runs a hook, and makes an error of its panic.
func (w *worker) runHook(ctx context.Context, hook func(context.Context) error) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover()
		err = panicError(p)
		if p == nil { // this goroutine is lost
			w.end(wire.ExitExited, "a hook called runtime.Goexit")
		}
	}()
	err = hook(ctx)
	returned = true
	return err
}

// panicError describes what recover returned. Nil is what it returns after runtime.Goexit.
func panicError(p any) *wire.RemoteError {
	msg := "runtime.Goexit was called (by FailNow of a testing.T?)"
	if p != nil {
		msg = fmt.Sprint(p)
	}
	return &wire.RemoteError{Message: strings.ToValidUTF8(msg, "\uFFFD"), Type: wire.TypePanic, Stack: string(debug.Stack())}
}

// enter notes in the scoreboard what the worker does.
func (w *worker) enter(s scoreboard.State) {
	if w.slot.Enter(s, scoreboard.Now()) && w.wake != nil {
		w.wake()
	}
}

// keepLog puts a log record where the server finds it if the worker dies.
func (w *worker) keepLog(d wire.LogDefer) {
	if rec, err := wire.Marshal(d.Value()); err == nil {
		w.slot.AppendLog(rec)
	}
}

// hookLogger logs what belongs to no call.
func (w *worker) hookLogger() hclog.Logger {
	if w.log == nil {
		return hclog.NewNullLogger()
	}
	return &logger{sink: w.log, level: new(levelVar)}
}
