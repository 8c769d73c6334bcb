package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/wire"
)

// InProcess is a worker that is no process: it runs a service's hooks and handlers in goroutines of this one. It is for
// tests and debuggers, and pool/pooltest makes a dialer of it. What only a process can do it can't: a crash ends the
// program, and a handler that does not return is left behind.
type InProcess struct {
	w    *worker
	conn net.Conn
	kind wire.Kind
	over chan struct{} // closed when exit is set
	left chan struct{} // closed when the goroutine that serves has returned

	mu   sync.Mutex // guards exit
	exit *wire.Exit
}

// InProcessConfig says what an InProcess is. Its zero value is useful.
type InProcessConfig struct {
	Wire wire.Kind // that the client speaks
	// Number is what wire.Exit.Number will be.
	Number int
	// Limits.CancelGrace and MaxMessage count, and have their defaults. The others need a process that can be ended from
	// outside.
	Limits Limits
	// SetupData is what SetupData returns in hooks and handlers, encoded by wire.Marshal. Nil means none.
	SetupData []byte
	// Logger gets what hooks log. Nil drops it.
	Logger hclog.Logger
}

// ServeInProcess begins to serve a connection in this process: it runs Setup, and then what the client calls, until the
// connection ends or End is called. The error is about the service. Unlike all else that serves, it needs no
// forkserver.Init, and takes services that are declared anywhere.
func ServeInProcess(s *Service, nc net.Conn, c InProcessConfig) (*InProcess, error) {
	if s == nil {
		return nil, s.Check()
	}
	s.mu.Lock()
	problem, command := s.problem, s.command
	s.mu.Unlock()
	switch {
	case problem != nil:
		return nil, problem
	case command != nil:
		return nil, fmt.Errorf("bullpen: service %q runs a command: it has no handlers that could run in this process: %w", s.name, errors.ErrUnsupported)
	}
	limits := c.Limits.withDefaults()
	limits.SetupTimeout = 0
	p := &InProcess{conn: nc, kind: c.Wire, over: make(chan struct{}), left: make(chan struct{})}
	p.w = newWorker(s, workerConfig{Service: s.name, Number: c.Number, Limits: limits, SetupData: c.SetupData, Pid: os.Getpid()}, scoreboard.Local())
	p.w.use(connTransport{nc})
	p.w.end = p.End
	p.w.log = logTo(c.Logger)
	go p.serve()
	return p, nil
}

// logTo returns what passes records on to a logger, or nil.
func logTo(l hclog.Logger) func(hclog.Level, string, map[string]any) {
	if l == nil {
		return nil
	}
	return func(level hclog.Level, msg string, data map[string]any) {
		args := []any{"pid", os.Getpid()}
		for k, v := range data {
			args = append(args, k, v)
		}
		l.Log(level, msg, args...)
	}
}

// serve is the worker's goroutine.
func (p *InProcess) serve() {
	defer close(p.left)
	defer func() { // also after runtime.Goexit, which FailNow of a testing.T calls
		p.w.watch.current.Store(nil) // its timer stops by itself
		p.End(wire.ExitExited, "its goroutine has ended")
	}()
	setupErr := p.w.setup(nil)
	reason, detail := p.w.serve(p.kind, setupErr)
	p.End(reason, detail)
}

// End ends the worker for the given reason: its connection and the contexts of hooks and handlers end. It does not wait
// for these to return. Only the first end counts.
func (p *InProcess) End(reason wire.ExitReason, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exit != nil {
		return
	}
	p.exit = &wire.Exit{Pid: p.w.config.Pid, Number: p.w.config.Number, Reason: reason, Detail: detail}
	p.w.stop()
	p.w.watch.cancelRunning()
	p.conn.Close()
	close(p.over)
}

// Cancel cancels what runs, as a server does that closes: the worker ends when that has returned, or now if nothing runs.
func (p *InProcess) Cancel() { p.w.cancelAll() }

// Over returns a channel that is closed when the worker has ended. A handler that does not return may still run.
func (p *InProcess) Over() <-chan struct{} { return p.over }

// Left returns a channel that is closed when nothing of the worker runs any more.
func (p *InProcess) Left() <-chan struct{} { return p.left }

// Exit tells how the worker has ended. It is nil before that.
func (p *InProcess) Exit() *wire.Exit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}
