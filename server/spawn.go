//go:build linux || darwin

package server

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/internal/process"
	"github.com/bullpen-go/bullpen/internal/role"
	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/wire"
)

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
