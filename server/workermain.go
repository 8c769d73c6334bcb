//go:build linux || darwin

package server

import (
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

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
	w.use(sock)
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
	serve, err := takeConnection(w, link, sock)
	if err != nil {
		fail(err)
	}
	kind := serve.Wire
	if serve.Ahead {
		kind = standBy(w, link, sock, setupErr)
	} else {
		w.slot.Take()
		time.AfterFunc(settleAfter, func() { settleIn(w, link, tell) })
	}
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
	if !role.DropsSignals() {
		w.greeted = role.DropSignals // while its client reads the worker's hello
	}
	w.ready = func() { link.Send(control.WorkerReady, nil) }
	w.wake = func() { go link.Send(control.WorkerWake, nil) } // while the handler waits, or has run for some milliseconds
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

// takeConnection waits for the connection. The caller acknowledges it in the scoreboard, before anything is read from it: a
// connection that was not acknowledged goes to another worker.
func takeConnection(w *worker, link *control.Conn, sock *socket) (serve control.Serve, err error) {
	for {
		m, err := link.Recv()
		if err != nil { // the server has gone: the watcher ends us
			runtime.Goexit()
		}
		switch m.Type {
		case control.WorkerCancel:
			w.end(wire.ExitShutdown, "")
		case control.WorkerServe:
			if err := m.Decode(&serve); err != nil {
				return serve, err
			}
			fd, ok := link.Descriptor()
			if !ok {
				return serve, fmt.Errorf("the connection did not arrive")
			}
			return serve, sock.connect(fd)
		}
	}
}

// standBy makes a standby of a worker that has its connection already, and returns with the client's first byte, which tells
// the wire. It stays in the socket.
func standBy(w *worker, link *control.Conn, sock *socket, setupErr *wire.SetupError) wire.Kind {
	if setupErr != nil { // the server knows
		w.end(wire.ExitSetup, setupErr.Message)
	}
	role.DropSignals()
	rehearse(w.config)
	w.open(wire.Binary) // most likely
	w.ready()
	first, err := awaitFirst(w, link, sock)
	if err != nil {
		w.end(ended(err))
	}
	kind, ok := wire.KindOf(first)
	if !ok {
		w.end(wire.ExitRetired, fmt.Sprintf("no message begins with byte %#x", first))
	}
	w.slot.Take()
	sock.Expect()
	time.AfterFunc(settleAfter, func() { obey(w, link) })
	return kind
}

// awaitFirst waits for the first byte from the client, and obeys the server meanwhile.
func awaitFirst(w *worker, link *control.Conn, sock *socket) (byte, error) {
	for {
		message, err := link.Await(sock.descriptor())
		switch {
		case err != nil:
			return 0, err
		case message:
			obeyOne(w, link)
			if w.base.Err() != nil {
				return 0, errShutdown
			}
			continue
		}
		b, n, errno := sock.peek()
		switch {
		case errno == unix.EAGAIN || errno == unix.EINTR:
		case errno != 0:
			return 0, os.NewSyscallError("recvfrom", errno)
		case n == 0:
			return 0, io.EOF
		default:
			return b, nil
		}
	}
}

// What a new worker's first call need not wait for is done a moment later, and not at once after its reply, when the client may
// want the same core. The signals can wait until nobody waits for other new workers any more, either: until then the worker
// drops them by other means, and package os/signal hears nothing of them.
const (
	settleAfter  = 5 * time.Millisecond
	signalsAfter = 250 * time.Millisecond
)

// settleIn does what the first call need not wait for, and then obeys the server while the connection is served. What it
// tells the server first is in the scoreboard already, should the worker die before.
func settleIn(w *worker, link *control.Conn, ready bool) {
	if role.DropsSignals() {
		time.AfterFunc(signalsAfter, role.DropSignals)
	} else {
		role.DropSignals()
	}
	if ready {
		w.ready()
	}
	link.Send(control.WorkerTook, nil)
	obey(w, link)
}

// obey does what the server says while the connection is served, or waited for.
func obey(w *worker, link *control.Conn) {
	if err := link.Poll(); err != nil {
		fail(err)
	}
	for {
		obeyOne(w, link)
	}
}

// obeyOne waits for a message from the server, and does what it says.
func obeyOne(w *worker, link *control.Conn) {
	m, err := link.Recv()
	if err != nil {
		dieWithGroup()
	}
	switch m.Type {
	case control.WorkerClaim:
		link.Send(control.WorkerTook, nil)
	case control.WorkerCancel:
		w.cancelAll()
	}
}
