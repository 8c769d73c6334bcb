//go:build linux || darwin

package server

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/internal/role"
	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/keepalive"
	"github.com/bullpen-go/bullpen/wire"
)

func init() { role.Register(role.Worker, workerMain) }

// workerMain is what a worker process does, from forkserver.Init on: it waits to be told what it is, sets up, says
// so, waits for its connection, and serves it. It waits in blocking system calls, as nothing wakes faster.
func workerMain() {
	_, err := keepalive.Watch(os.NewFile(role.WorkerKeepalive, "keepalive"), dieWithGroup)
	if err != nil {
		fail(err)
	}
	link, err := control.Blocking(role.WorkerLink)
	if err != nil {
		fail(err)
	}
	w, err := newWorkerProcess(link)
	if err != nil {
		fail(err)
	}
	if app := w.config.App; app != 0 {
		go watchApp(app) // begins when this goroutine waits
	}
	if w.svc.hooks.Setup != nil { // it may take long
		role.DropSignals()
	}
	setupErr := w.setup(func(late *wire.SetupError) {
		link.Send(control.WorkerFailed, late)
		w.end(wire.ExitSetup, late.Message)
	})
	sock, err := newSocket()
	if err != nil {
		fail(err)
	}
	w.sock = sock
	tell := setupErr == nil
	switch {
	case setupErr != nil:
		link.Send(control.WorkerFailed, setupErr)
	case !link.Pending(): // nobody waits
		role.DropSignals()
		rehearse(w.config)
		w.ready()
		tell = false
	}
	kind, err := takeConnection(w, link, sock)
	if err != nil {
		fail(err)
	}
	go settleIn(w, link, tell)
	reason, detail := w.serve(kind, setupErr)
	if w.relay != nil {
		w.relay.leave()
	}
	w.end(reason, detail)
}

// fail ends a worker that can't do its work. The server forwards what it says.
func fail(err error) {
	fmt.Fprintf(os.Stderr, "bullpen worker: %v\n", err)
	os.Exit(3)
}

// dieWithGroup ends the worker and what it has started: its server is gone.
func dieWithGroup() {
	syscall.Kill(0, syscall.SIGKILL)
}

// newWorkerProcess makes the worker that the server describes in its first message.
func newWorkerProcess(link *control.Conn) (*worker, error) {
	m, err := link.Recv()
	if err != nil {
		return nil, fmt.Errorf("no configuration: %w", err)
	}
	if m.Type == control.WorkerCancel { // the server is closing
		link.Send(control.WorkerEnding, control.Ending{Reason: wire.ExitShutdown})
		os.Exit(0)
	}
	config := workerConfig{Pid: os.Getpid()}
	if err := m.Decode(&config); err != nil {
		return nil, err
	}
	svc := Lookup(config.Service)
	if svc == nil {
		return nil, fmt.Errorf("this program declares no service %q before forkserver.Init", config.Service)
	}
	if err := limitMemory(config.Limits.MaxMemory); err != nil {
		return nil, err
	}
	file := os.NewFile(role.WorkerScoreboard, "scoreboard")
	slot, err := scoreboard.Map(file, config.Slot)
	if err != nil {
		return nil, err
	}
	file.Close()
	w := newWorker(svc, config, slot)
	w.greeted = role.DropSignals // while its client reads the worker's hello
	w.ready = func() { link.Send(control.WorkerReady, nil) }
	w.wake = func() { link.Send(control.WorkerWake, nil) }
	w.log = func(level hclog.Level, msg string, data map[string]any) {
		rec := control.Log{Level: int32(level), Message: msg}
		for _, k := range slices.Sorted(maps.Keys(data)) {
			rec.Args = append(rec.Args, k, fmt.Sprint(data[k]))
		}
		link.Send(control.WorkerLog, rec)
	}
	w.end = func(reason wire.ExitReason, detail string) {
		link.Send(control.WorkerEnding, control.Ending{Reason: reason, Detail: detail})
		stayIfOrphaned(config.App)
		os.Exit(0)
	}
	w.died = func(detail string, how *os.ProcessState) {
		e := control.Ending{Detail: detail, Command: &control.CommandEnd{Code: how.ExitCode()}}
		if ws, ok := how.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			e.Command.Signal = int(ws.Signal())
		}
		link.Send(control.WorkerEnding, e)
		os.Exit(1)
	}
	return w, nil
}

// takeConnection waits for the connection and acknowledges it in the scoreboard, before anything is read from it: a
// connection that was not acknowledged goes to another worker.
func takeConnection(w *worker, link *control.Conn, sock *socket) (wire.Kind, error) {
	for {
		m, err := link.Recv()
		if err != nil { // the server has gone: the watcher ends us
			runtime.Goexit()
		}
		switch m.Type {
		case control.WorkerCancel:
			w.end(wire.ExitShutdown, "")
		case control.WorkerServe:
			var serve control.Serve
			if err := m.Decode(&serve); err != nil {
				return 0, err
			}
			fd, ok := link.Descriptor()
			if !ok {
				return 0, fmt.Errorf("the connection did not arrive")
			}
			if err := sock.connect(fd); err != nil {
				return 0, err
			}
			w.slot.Take()
			return serve.Wire, nil
		}
	}
}

// settleIn does what the first call need not wait for, and then obeys the server while the connection is served. What it
// tells the server first is in the scoreboard already, should the worker die before.
func settleIn(w *worker, link *control.Conn, ready bool) {
	role.DropSignals() // the worker's loop is at it, and is not ready before
	if ready {
		w.ready()
	}
	link.Send(control.WorkerTook, nil)
	if err := link.Poll(); err != nil {
		fail(err)
	}
	for {
		m, err := link.Recv()
		if err != nil {
			dieWithGroup()
		}
		if m.Type == control.WorkerCancel {
			w.cancelAll()
		}
	}
}
