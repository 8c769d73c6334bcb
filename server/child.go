//go:build linux || darwin

package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/internal/notimeouts"
	"github.com/bullpen-go/bullpen/internal/process"
	"github.com/bullpen-go/bullpen/internal/role"
	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/internal/tail"
	"github.com/bullpen-go/bullpen/wire"
)

// child is a worker as its server sees it.
type child struct {
	sup    *supervisor
	number int
	proc   *process.Process
	link   *control.Conn
	slot   *scoreboard.Slot
	slotNo int

	output  sync.WaitGroup // the readers of stdout and stderr
	pipes   [2]*os.File    // their ends
	stderr  tail.Buffer
	shot    atomic.Bool   // this process has killed it
	dumping atomic.Bool   // what comes on stderr is a goroutine dump
	linked  chan struct{} // closed when the link's reader has returned
	// unwanted: somebody wanted this standby to be retired before it was ready. The supervisor's mu guards it.
	unwanted bool
	over     chan struct{} // closed when the worker was reaped

	mu     sync.Mutex // guards all below
	conn   *connection
	ready  bool // Setup has run
	warm   bool // it was ready when it got its connection
	took   bool // it has acknowledged the connection
	taking *time.Timer
	reason wire.ExitReason // why it ends, once that is known
	detail string
	ended  *control.CommandEnd // of a worker that works for a command, once that has ended
	dead   bool
}

// spawn starts a worker: for conn, or if that is nil as a standby.
func (s *supervisor) spawn(conn *connection) {
	defer s.spawned()
	if e := s.needless(conn); e != nil {
		s.notStarted(conn, e)
		return
	}
	w, err := s.start()
	if err != nil {
		s.logger.Error("a worker could not be started", "service", s.srv.Service.name, "error", err)
		s.notStarted(conn, &wire.Exit{Code: -1, Reason: wire.ExitNotStarted, Detail: err.Error()})
		return
	}
	if !s.add(w) {
		w.kill(wire.ExitShutdown, "")
	}
	s.hung.wake()
	s.event(WorkerStarted, w, nil)
	if conn != nil {
		conn.attach(w)
	}
	go w.readLink()
	go w.wait()
	if err := w.configure(); err != nil {
		if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) { // its end says more
			w.note(wire.ExitNotStarted, err.Error())
		}
		w.proc.Kill()
		return
	}
	s.oom.Started() // while the process begins
	if conn != nil {
		w.link.Send(control.WorkerServe, control.Serve{Wire: conn.Wire, Ahead: conn.ahead()}, conn.File)
	}
}

// needless tells why a worker need not be started any more, or returns nil.
func (s *supervisor) needless(conn *connection) *wire.Exit {
	s.mu.Lock()
	closing := s.closing || conn == nil && s.draining
	s.mu.Unlock()
	if closing {
		return &wire.Exit{Code: -1, Reason: wire.ExitShutdown}
	}
	if conn != nil {
		if why, wanted := conn.wanted(); !wanted {
			return &wire.Exit{Code: -1, Reason: wire.ExitCanceled, Detail: why}
		}
	}
	return nil
}

// notStarted reports a worker that could not be started, or that nobody wants any more.
func (s *supervisor) notStarted(conn *connection, e *wire.Exit) {
	if conn == nil {
		s.spareFailed()
		return
	}
	if conn.ahead() {
		s.failed()
	}
	conn.end(e)
}

// failed slows the start of standbys.
func (s *supervisor) failed() {
	s.mu.Lock()
	s.backoff.fail()
	s.mu.Unlock()
}

// spareFailed takes a standby that did not get ready off the count. The next one comes later.
func (s *supervisor) spareFailed() {
	s.mu.Lock()
	s.spare--
	s.backoff.fail()
	s.mu.Unlock()
	s.refill()
}

// start starts a worker process.
func (s *supervisor) start() (_ *child, err error) {
	w := &child{sup: s, linked: make(chan struct{}), over: make(chan struct{})}
	if w.slot, w.slotNo, err = s.board.Take(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.numbers++
	w.number = s.numbers
	s.mu.Unlock()
	var files []*os.File // the child's, closed here once it has them
	defer func() {
		for _, f := range files {
			f.Close()
		}
		if err != nil {
			s.board.Give(w.slotNo)
			w.closePipes()
			if w.link != nil {
				w.link.Close()
			}
		}
	}()
	for i := range w.pipes {
		r, wr, err := pipe()
		if err != nil {
			return nil, err
		}
		w.pipes[i] = r
		files = append(files, wr)
	}
	link, theirs, err := control.Pair()
	if err != nil {
		return nil, err
	}
	w.link = link
	files = append(files, theirs)
	w.slot.Enter(scoreboard.Starting, scoreboard.Now())
	if w.proc, err = process.Start(s.spec(w.number, files)); err != nil {
		return nil, err
	}
	s.board.Enlist(w.slotNo, w.number, w.proc.Pid)
	for i, name := range []string{"stdout", "stderr"} {
		w.output.Add(1)
		go w.forward(w.pipes[i], name)
	}
	return w, nil
}

// spec says how worker number n is started. Its files are in the order of package role.
func (s *supervisor) spec(n int, files []*os.File) process.Spec {
	env := s.srv.Env
	if env == nil {
		env = os.Environ()
	}
	procs := s.limits.Procs
	return process.Spec{
		Path:  s.srv.Path,
		Title: fmt.Sprintf("bullpen worker: %s(%d)", s.srv.Service.name, n),
		Env:   role.Mark(env, role.Worker, procs, role.WorkerSetting(os.Getpid(), n)),
		Dir:   s.srv.Dir,
		Files: slices.Concat([]*os.File{s.null}, files, []*os.File{s.child, s.board.File()}),
		Death: syscall.SIGKILL,
	}
}

func (w *child) closePipes() {
	for _, p := range w.pipes {
		if p != nil {
			p.Close()
		}
	}
}

// configure tells the worker what it is.
func (w *child) configure() error {
	app := 0
	if role.Current() == role.Server {
		app = role.Parent()
	}
	return w.link.Send(control.WorkerSetup, workerConfig{Service: w.sup.srv.Service.name, Number: w.number,
		Slot: w.slotNo, Limits: w.sup.limits, SetupData: w.sup.data, Build: role.Build(), App: app})
}

// take makes w the worker of c.
func (w *child) take(c *connection) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil || w.dead {
		return false
	}
	w.conn, w.warm = c, w.ready
	w.sup.board.SetOwner(w.slotNo, w.number, c.owner())
	return true
}

// claimed notes that somebody uses the connection that the worker got ahead. A worker that doesn't say that it has heard of it
// is stopped, or stuck.
func (w *child) claimed(c *connection) {
	w.sup.board.SetOwner(w.slotNo, w.number, c.owner())
	w.link.Send(control.WorkerClaim, nil)
	w.handed()
}

// handed is called when a worker that was ready has been sent its connection.
func (w *child) handed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.took && !w.dead {
		w.awaitTake()
	}
}

// A worker that waits for a connection takes it at once, unless it was stopped, or is stuck: then nobody would notice, as
// it does nothing. After takeWithin it gets a second chance, because it may have been this process that was stopped.
const (
	takeWithin   = 2 * time.Second
	secondChance = 500 * time.Millisecond
)

// awaitTake ends the worker if it doesn't take the connection that it was given. The caller holds mu.
func (w *child) awaitTake() {
	if w.sup.limits.CancelGrace == notimeouts.Forever { // it may stand in a debugger
		return
	}
	again := false
	w.taking = time.AfterFunc(takeWithin, func() {
		w.mu.Lock()
		overdue := w.conn != nil && !w.took && !w.dead
		if overdue && !again {
			again, overdue = true, false
			w.taking.Reset(secondChance)
		}
		w.mu.Unlock()
		if overdue {
			w.kill(wire.ExitHung, fmt.Sprintf("it did not take its connection within %v", takeWithin))
		}
	})
}

// untake takes c back from w. It fails if w is dead: pass has c then.
func (w *child) untake(c *connection) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return false
	}
	w.conn = nil
	w.sup.board.SetOwner(w.slotNo, w.number, scoreboard.Nobody)
	return true
}

// readLink obeys what the worker says.
func (w *child) readLink() {
	defer close(w.linked)
	for {
		m, err := w.link.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) { // something it said may be lost, such as that it has the connection
				w.hasTaken()
			}
			return
		}
		switch m.Type {
		case control.WorkerReady:
			w.isReady()
		case control.WorkerFailed:
			var e wire.SetupError
			if m.Decode(&e) == nil {
				w.setupFailed(&e)
			}
		case control.WorkerTook:
			w.hasTaken()
		case control.WorkerLog:
			var rec control.Log
			if m.Decode(&rec) == nil {
				w.logged(rec)
			}
		case control.WorkerWake:
			w.sup.hung.wake()
		case control.WorkerEnding:
			var e control.Ending
			if m.Decode(&e) == nil {
				w.noteEnding(e)
			}
		}
	}
}

// logged passes on what a hook has logged.
func (w *child) logged(rec control.Log) {
	args := []any{"service", w.sup.srv.Service.name, "pid", w.proc.Pid, "worker", w.number}
	for _, a := range rec.Args {
		args = append(args, a)
	}
	w.sup.logger.Log(hclog.Level(rec.Level), strings.ToValidUTF8(rec.Message, "\uFFFD"), args...)
}

// isReady makes a worker without a connection a standby.
func (w *child) isReady() {
	s := w.sup
	w.mu.Lock()
	if w.ready || w.dead {
		w.mu.Unlock()
		return
	}
	w.ready = true
	if w.reason == wire.ExitSetup { // it was tried again
		w.reason, w.detail = "", ""
	}
	conn := w.conn
	spare, ahead := conn == nil, conn != nil && conn.ahead()
	switch {
	case spare || w.took:
	case ahead:
		w.warm = true
	default:
		w.awaitTake()
	}
	w.mu.Unlock()
	draining, unwanted := false, false
	if spare {
		s.mu.Lock()
		s.spare--
		draining, unwanted = s.draining, w.unwanted
		if !draining && !unwanted {
			s.standby = append(s.standby, w)
		}
		s.mu.Unlock()
	}
	if ahead {
		conn.File.Close() // the worker has it
		conn.warm()
	}
	s.event(WorkerReady, w, nil) // from here on it can be had
	switch {
	case draining:
		w.kill(wire.ExitShutdown, "")
	case unwanted:
		w.kill(wire.ExitRetired, unwantedText)
	}
}

// setupFailed ends a standby whose Setup failed. A worker with a connection tells its client first, and ends itself.
func (w *child) setupFailed(e *wire.SetupError) {
	w.mu.Lock()
	spare := w.conn == nil || w.conn.ahead()
	w.mu.Unlock()
	w.sup.logger.Warn("a worker's setup failed", "service", w.sup.srv.Service.name, "pid", w.proc.Pid, "worker", w.number, "error", e.Message)
	w.note(wire.ExitSetup, e.Message)
	if spare {
		w.proc.Kill()
	}
}

// hasTaken closes our copy of the connection: while it is open, the client can't see its worker die.
func (w *child) hasTaken() {
	s := w.sup
	s.mu.Lock()
	s.backoff.succeed()
	s.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took = true
	if w.taking != nil {
		w.taking.Stop()
	}
	if w.conn != nil {
		w.conn.File.Close()
	}
}

// note remembers why the worker ends. The first reason counts.
func (w *child) note(reason wire.ExitReason, detail string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reason == "" {
		w.reason, w.detail = reason, detail
	}
}

// noteEnding remembers what the worker says about its end.
func (w *child) noteEnding(e control.Ending) {
	w.note(e.Reason, e.Detail)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = e.Command
}

// kill kills the worker and what it has started.
func (w *child) kill(reason wire.ExitReason, detail string) {
	w.note(reason, detail)
	w.shot.Store(true)
	w.proc.Kill()
}

// cancel asks the worker to end: its handler's context ends now.
func (w *child) cancel() {
	w.note(wire.ExitShutdown, "")
	w.link.Send(control.WorkerCancel, nil)
}

// How long a dead worker's pipes and link are waited for, if somebody holds them open. What they hold is there already.
const (
	drainFor  = 100 * time.Millisecond
	lingerFor = time.Second
)

// wait waits for the worker's end, and does what follows from it.
func (w *child) wait() {
	s := w.sup
	st := w.proc.Wait()
	s.board.Discharge(w.slotNo) // the pid is free
	for _, p := range w.pipes { // a descendant that hid from its process group may hold them open
		p.SetReadDeadline(time.Now().Add(drainFor))
	}
	late := time.AfterFunc(lingerFor, func() { w.link.Close() })
	w.output.Wait()
	<-w.linked
	late.Stop()
	w.link.Close()
	w.closePipes()
	w.catchUp()
	e := w.exit(st)
	s.remove(w, e)
	s.board.Give(w.slotNo)
	s.killLeft(w.number)
	w.proc.Release()
	s.reap()
	s.event(WorkerEnded, w, e)
	s.logEnd(w, e)
	w.pass(e)
	s.reported()
}

// catchUp notes what a worker that is dead had no time to say: that it was ready, and has taken its connection.
func (w *child) catchUp() {
	w.mu.Lock()
	taken := w.conn != nil && w.slot.Taken()
	failed := w.reason == wire.ExitSetup
	w.mu.Unlock()
	if !taken {
		return
	}
	if !failed {
		w.isReady()
	}
	w.hasTaken()
}

// pass gives the dead worker's connection to another worker if it was never read, and reports the end otherwise.
func (w *child) pass(e *wire.Exit) {
	s := w.sup
	w.mu.Lock()
	w.dead = true
	conn, ready, took := w.conn, w.ready, w.took
	again := conn != nil && w.warm && !took && !conn.ahead()
	w.mu.Unlock()
	if again {
		_, again = conn.wanted()
	}
	switch {
	case conn == nil && !ready:
		s.spareFailed()
	case conn == nil: // a standby that was ready
		s.failed()
	case conn.ahead() && !took: // one that had its connection ahead
		s.failed()
		conn.end(e)
	case again:
		s.mu.Lock()
		next := s.takeStandby()
		s.mu.Unlock()
		s.place(conn, next)
	default:
		conn.end(e)
	}
	s.refill()
}
