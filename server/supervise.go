//go:build linux || darwin

package server

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/internal/notimeouts"
	"github.com/bullpen-go/bullpen/internal/process"
	"github.com/bullpen-go/bullpen/internal/role"
	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/keepalive"
	"github.com/bullpen-go/bullpen/wire"
)

// supervisor spawns, watches and reaps the workers of one server.
//
// Phases: serving → draining (drain: no new connections) → closing (close: workers are ended) → closed.
type supervisor struct {
	srv    *Server
	limits Limits
	data   []byte // SetupData, encoded
	logger hclog.Logger
	board  *scoreboard.Board
	hung   *hungWatch

	hold  *keepalive.Hold // ends all workers when this process ends
	child *os.File        // the end of it that workers get
	null  *os.File        // their standard input

	mu        sync.Mutex // guards all below; no system call that can block is made under it
	workers   map[int]*child
	standby   []*child // ready and without a connection; the oldest first
	numbers   int
	spawning  int  // spawns under way
	ending    int  // workers that were reaped, and whose end isn't reported yet
	spare     int  // of the spawns, under way or put off, and of the started workers: standbys that aren't ready yet
	refilling bool // refill will be called
	draining  bool
	closing   bool
	idle      chan struct{} // closed when there are no workers, if somebody waits
	backoff   backoff
	exits     exits

	oom *process.OOM

	gone chan struct{} // closed by close

	events sync.Mutex // one OnEvent at a time
}

func newSupervisor(srv *Server) (*supervisor, error) {
	if err := role.CheckApp(); err != nil {
		return nil, err
	}
	s := &supervisor{srv: srv, limits: srv.Limits.withDefaults(), logger: srv.Logger, workers: map[int]*child{},
		gone: make(chan struct{}), oom: process.NewOOM()}
	if notimeouts.On() && role.Current() == role.App { // a server process's app has said so
		notimeouts.Warn(srv.Logger, "service", srv.Service.name)
	}
	if s.logger == nil {
		s.logger = hclog.NewNullLogger()
	}
	var err error
	if srv.SetupData != nil {
		if s.data, err = wire.Marshal(srv.SetupData); err != nil {
			return nil, fmt.Errorf("bullpen: SetupData: %w", err)
		}
	}
	app := 0
	if role.Current() == role.Server {
		app = role.Parent()
	}
	if s.board, err = scoreboard.New(srv.Service.name, app); err != nil {
		return nil, err
	}
	if s.hold, s.child, err = keepalive.New(); err != nil {
		s.board.Close()
		return nil, err
	}
	if s.null, err = os.Open(os.DevNull); err != nil {
		s.hold.Close()
		s.child.Close()
		s.board.Close()
		return nil, err
	}
	s.hung = newHungWatch(s)
	go s.watchChildren()
	if app != 0 {
		go s.heed()
	}
	s.refill()
	return s, nil
}

// serve gives c a worker: a standby that is ready, or a new one.
func (s *supervisor) serve(c Connection) (kill func(string), err error) {
	conn := &connection{Connection: c}
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		c.File.Close()
		return nil, ErrServerClosed
	}
	w := s.takeStandby()
	s.mu.Unlock()
	s.place(conn, w)
	s.refillSoon()
	return conn.kill, nil
}

// serveAhead has a standby made for c, which nobody uses yet.
func (s *supervisor) serveAhead(c Connection, ready func()) (Ahead, error) {
	conn := &connection{Connection: c, warm: ready}
	s.mu.Lock()
	draining := s.draining
	delay := s.backoff.delay()
	s.mu.Unlock()
	if draining {
		c.File.Close()
		return nil, ErrServerClosed
	}
	time.AfterFunc(delay, func() { s.spawnLater(conn) })
	return conn, nil
}

// takeStandby returns a ready standby, or nil. The caller holds mu.
func (s *supervisor) takeStandby() *child {
	if len(s.standby) == 0 {
		return nil
	}
	w := s.standby[0]
	s.standby = s.standby[1:]
	return w
}

// place hands the connection to the standby w, or spawns a worker for it.
func (s *supervisor) place(conn *connection, w *child) {
	if w != nil && conn.give(w) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing { // close may have seen the last worker go
		go conn.end(&wire.Exit{Code: -1, Reason: wire.ExitShutdown})
		return
	}
	s.spawning++
	go s.spawn(conn)
}

// refillAfter is how long the first call of a worker that was just given its connection has, before another process is
// started beside it.
const refillAfter = 5 * time.Millisecond

// refillSoon is refill, a moment later.
func (s *supervisor) refillSoon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refilling || s.limits.Standby == 0 {
		return
	}
	s.refilling = true
	time.AfterFunc(refillAfter, func() {
		s.mu.Lock()
		s.refilling = false
		s.mu.Unlock()
		s.refill()
	})
}

// refill starts standbys until there are as many as wanted.
func (s *supervisor) refill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.draining && len(s.standby)+s.spare < s.limits.Standby {
		s.spare++
		delay := s.backoff.delay()
		if delay == 0 {
			s.spawning++
			go s.spawn(nil)
			continue
		}
		time.AfterFunc(delay, func() { s.spawnLater(nil) })
	}
}

// spawnLater starts a standby that was put off: for conn, or if that is nil without a connection.
func (s *supervisor) spawnLater(conn *connection) {
	s.mu.Lock()
	draining := s.draining
	if !draining {
		s.spawning++
	}
	s.mu.Unlock()
	switch {
	case !draining:
		s.spawn(conn)
	case conn != nil:
		conn.end(&wire.Exit{Code: -1, Reason: wire.ExitShutdown})
	}
}

// add notes a started worker. It fails if the server is closing.
func (s *supervisor) add(w *child) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers[w.proc.Pid] = w
	return !s.closing
}

// remove forgets a worker that was reaped, but not how it ended.
func (s *supervisor) remove(w *child, e *wire.Exit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.workers, w.proc.Pid)
	s.ending++
	s.exits.add(e)
	close(w.over)
	for i, x := range s.standby {
		if x == w {
			s.standby = append(s.standby[:i:i], s.standby[i+1:]...)
			break
		}
	}
}

// reported ends what remove has begun.
func (s *supervisor) reported() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending--
	s.checkIdle()
}

// spawned ends what place or refill has begun.
func (s *supervisor) spawned() {
	s.mu.Lock()
	s.spawning--
	s.checkIdle()
	s.mu.Unlock()
	s.reap() // while a worker is being started, nothing is known to be adopted
}

// own reports whether pid is a worker, whose own waiter reaps it.
func (s *supervisor) own(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.workers[pid] != nil || s.spawning > 0
}

// all returns the workers of now.
func (s *supervisor) all() []*child {
	s.mu.Lock()
	defer s.mu.Unlock()
	ws := make([]*child, 0, len(s.workers))
	for _, w := range s.workers {
		ws = append(ws, w)
	}
	return ws
}

// event passes an event on.
func (s *supervisor) event(t EventType, w *child, e *wire.Exit) {
	if s.srv.OnEvent == nil {
		return
	}
	s.events.Lock()
	defer s.events.Unlock()
	s.srv.OnEvent(Event{Type: t, Time: time.Now(), Service: s.srv.Service.name, Pid: w.proc.Pid, Number: w.number, Exit: e})
}
