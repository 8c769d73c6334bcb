//go:build linux || darwin

package forkserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/internal/process"
	"github.com/bullpen-go/bullpen/internal/role"
	"github.com/bullpen-go/bullpen/keepalive"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func init() { role.Register(role.Server, serverMain) }

// serverMain is what a server process does, from Init on: it obeys the app until that says to end, or ends.
func serverMain() {
	process.OnBusy(role.Leash)
	role.Outlive()
	// The control socket is read by a blocking system call: a standby gets its connection sooner.
	runtime.LockOSThread()
	ctl, err := control.Blocking(role.ServerControl)
	if err != nil {
		fail(err)
	}
	p := &serverProcess{ctl: ctl, kills: map[uint64]func(string){}, claims: map[uint64]func(){}, ready: make(chan struct{})}
	if err := p.configure(); err != nil {
		ctl.Send(control.ServerReady, control.Ready{Err: err.Error(), Shortage: isShortage(err)})
		fail(err)
	}
	if _, err := keepalive.Watch(os.NewFile(role.ServerKeepalive, "keepalive"), p.orphaned); err != nil {
		fail(err)
	}
	p.watchParent()
	roster, slots := p.srv.Scoreboard()
	if err := ctl.Send(control.ServerReady, control.Ready{Build: role.Build()}, roster, slots); err != nil {
		fail(err)
	}
	close(p.ready)
	p.obey()
}

// fail ends a server that can't do its work. The app reads what it says.
func fail(err error) {
	fmt.Fprintf(os.Stderr, "bullpen server: %v\n", err)
	os.Exit(3)
}

// serverProcess is the server's side of the control socket.
type serverProcess struct {
	ctl    *control.Conn
	srv    *server.Server
	ready  chan struct{} // closed when the app has been told that the server is
	served sync.Once

	mu     sync.Mutex // guards all below
	kills  map[uint64]func(string)
	claims map[uint64]func() // of connections that were made ahead
}

// configure makes the server that the app describes in its first message.
func (p *serverProcess) configure() error {
	m, err := p.ctl.Recv()
	if err != nil {
		return fmt.Errorf("no configuration: %w", err)
	}
	var c serverConfig
	if err := m.Decode(&c); err != nil {
		return err
	}
	svc := server.Lookup(c.Service)
	if svc == nil {
		return fmt.Errorf("this program declares no service %q before forkserver.Init", c.Service)
	}
	p.srv = &server.Server{Service: svc, Limits: c.Limits, Path: c.Path, Logger: p.logger()}
	if c.SetupData != nil {
		p.srv.SetupData = cbor.RawMessage(c.SetupData)
	}
	p.srv.OnEvent = func(e server.Event) {
		<-p.ready // a standby's start is not an event before the server's
		if e.Type == server.WorkerReady {
			p.served.Do(func() { p.ctl.Send(control.ServerServes, nil) })
		}
		if c.Events {
			p.ctl.Send(control.ServerEvent, e)
		}
	}
	if err := p.srv.Start(); err != nil {
		return err
	}
	for i := range c.Listeners {
		f := os.NewFile(uintptr(role.ServerListeners+i), "listener")
		l, err := net.FileListener(f)
		if err != nil {
			return fmt.Errorf("inherited listener %d: %w", i, err)
		}
		f.Close()
		go p.srv.Serve(l)
	}
	return nil
}

// logger sends what the server logs to the app.
func (p *serverProcess) logger() hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
	l.RegisterSink(controlSink{p.ctl})
	return l
}

type controlSink struct{ ctl *control.Conn }

// Accept implements hclog.SinkAdapter.
func (s controlSink) Accept(name string, level hclog.Level, msg string, args ...any) {
	rec := control.Log{Level: int32(level), Name: name, Message: msg}
	for _, a := range args {
		rec.Args = append(rec.Args, fmt.Sprint(a))
	}
	s.ctl.Send(control.ServerLog, rec)
}

// obey does what the app says.
func (p *serverProcess) obey() {
	for {
		m, err := p.ctl.Recv()
		if err != nil {
			p.orphaned()
		}
		switch m.Type {
		case control.AppConn:
			var c control.Handover
			if f := p.ctl.File("connection"); m.Decode(&c) == nil && f != nil {
				p.serve(c, f)
			}
		case control.AppClaim:
			var c control.Claim
			if m.Decode(&c) == nil {
				p.claim(c)
			}
		case control.AppKill:
			var k control.Kill
			if m.Decode(&k) == nil {
				p.kill(k)
			}
		case control.AppPing:
			p.ctl.Send(control.ServerPong, nil)
		case control.AppClose:
			go p.close()
		case control.AppShutdown:
			go p.shutdown()
		}
	}
}

// serve has a connection served, and reports its worker's end.
func (p *serverProcess) serve(c control.Handover, f *os.File) {
	exit := func(e *wire.Exit) {
		p.mu.Lock()
		delete(p.kills, c.ID)
		delete(p.claims, c.ID)
		p.mu.Unlock()
		p.ctl.Send(control.ServerExit, control.Exit{ID: c.ID, Exit: *e})
	}
	retire := func() { go p.ctl.Send(control.ServerRetire, control.Retire{ID: c.ID}) }
	// The worker may end before ServeConn has returned.
	p.mu.Lock()
	defer p.mu.Unlock()
	kill, err := p.serveConn(c, server.Connection{File: f, Wire: c.Wire, OnExit: exit, Retire: retire})
	if err != nil {
		p.ctl.Send(control.ServerExit, control.Exit{ID: c.ID, Exit: wire.Exit{Code: -1, Reason: wire.ExitNotStarted, Detail: err.Error()}})
		return
	}
	p.kills[c.ID] = kill
}

// serveConn has the connection served at once, or when its client uses it. The caller holds mu.
func (p *serverProcess) serveConn(c control.Handover, conn server.Connection) (kill func(string), err error) {
	if !c.Ahead {
		return p.srv.ServeConn(conn)
	}
	a, err := p.srv.ServeAhead(conn, func() { p.ctl.Send(control.ServerWarm, control.Warm{ID: c.ID}) })
	if err != nil {
		return nil, err
	}
	p.claims[c.ID] = a.Claim
	return a.Kill, nil
}

// claim notes that a connection which was made ahead is used.
func (p *serverProcess) claim(c control.Claim) {
	p.mu.Lock()
	claim := p.claims[c.ID]
	delete(p.claims, c.ID)
	p.mu.Unlock()
	if claim != nil {
		claim()
	}
}

func (p *serverProcess) kill(k control.Kill) {
	p.mu.Lock()
	kill := p.kills[k.ID]
	p.mu.Unlock()
	if kill != nil {
		kill(k.Detail)
	}
}

// close ends all workers and then this process.
func (p *serverProcess) close() {
	var closed control.Closed
	if err := p.srv.Close(); err != nil {
		var stuck *server.StuckError
		if errors.As(err, &stuck) {
			closed.Survivors = stuck.Pids
		}
	}
	p.srv.Kill() // what workers left behind
	p.ctl.Send(control.ServerClosed, closed)
	os.Exit(0)
}

// shutdown ends this process once the last worker has ended by itself. The app loses patience with AppClose.
func (p *serverProcess) shutdown() {
	p.srv.Shutdown(context.Background())
	p.ctl.Send(control.ServerClosed, control.Closed{})
	os.Exit(0)
}

// orphanTime is how long an orphaned server may need to end its workers and what they have started.
const orphanTime = 900 * time.Millisecond

// orphaned ends this process and its workers now: the app is gone. Until here the workers see to it that nobody keeps
// this process from it by stopping it: see server.watchApp. Without them the kernel does.
func (p *serverProcess) orphaned() {
	role.EndWithin(orphanTime)
	p.srv.Kill()
	os.Exit(0)
}
