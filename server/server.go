// Package server runs services: sets of methods that are executed in worker processes of this binary, one call at a
// time and one connection a worker.
//
// A service, its hooks and its methods are package variables, because a worker is a process of its own that begins
// with package initialization and never gets past forkserver.Init:
//
//	var images = server.NewService("images", server.Hooks{})
//
//	var thumbnail = server.Handle2(images, "thumbnail", func(ctx context.Context, png []byte, size int) ([]byte, error) {
//		return scale(png, size) // may crash, hang or leak: it has a process for itself
//	})
//
// thumbnail is the handler's registration and the typed client in one: thumbnail.Call(ctx, pool, png, 64).
//
// Most programs start the service with forkserver.Start, and the server is a process of its own, tied to the app. A
// server that is a program of its own, for clients in other programs, calls ListenAndServe instead:
//
//	func main() {
//		forkserver.Init()
//		log.Fatal(server.ListenAndServe(context.Background(), "unix", "/run/images.sock", images))
//	}
//
// The workers of a service that NewCommand has declared run a command, in any language.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/wire"
)

// Server spawns and watches the workers of a service. Its fields may not be changed once it serves.
type Server struct {
	Service *Service
	Limits  Limits
	// SetupData is what SetupData returns in workers. Nil means none.
	SetupData any
	// Env is the workers' environment. Nil means this process's.
	Env []string
	// Dir is the workers' working directory. "" means this process's.
	Dir string
	// Path is the program that workers run. "" means this one, also if its file was replaced since.
	Path string
	// Logger gets the server's records, and what workers print. Nil drops them.
	Logger hclog.Logger
	// OnEvent is called for each worker's start, readiness and end, one event at a time. It must not block.
	OnEvent func(Event)

	once sync.Once
	err  error // why there is no supervisor
	sup  *supervisor

	mu        sync.Mutex // guards all below
	listeners map[net.Listener]struct{}
	stopping  bool
}

// ErrServerClosed is returned by Serve and ServeConn after Shutdown or Close.
var ErrServerClosed = errors.New("bullpen: the server is closed")

// StuckError names worker processes that SIGKILL did not end.
type StuckError struct {
	Service string
	Pids    []int
}

// Error implements error.
func (e *StuckError) Error() string {
	return fmt.Sprintf("bullpen: workers %v of service %q do not die: they are in uninterruptible sleep, or frozen", e.Pids, e.Service)
}

// Connection is a client's connection that wants a worker.
type Connection struct {
	File *os.File  // a stream socket; ServeConn takes it over
	Wire wire.Kind // the wire that the client speaks
	// OnExit is called once when the connection's worker has ended, or could not be had. It may be nil.
	OnExit func(*wire.Exit)
	// Retire asks the client to give the worker back once its checkout is released: somebody wants the worker gone. It must
	// not block. Nil means that the client can't be asked.
	Retire func()
}

// Serve gives a worker to each client of l, from the client's first byte on, until Shutdown or Close. It closes l. It
// returns ErrServerClosed then, and what l says if it breaks before.
func (s *Server) Serve(l net.Listener) error {
	if err := s.Start(); err != nil {
		l.Close()
		return err
	}
	if !s.track(l) {
		l.Close()
		return ErrServerClosed
	}
	defer s.untrack(l)
	return s.accept(l)
}

// ServeConn gives a worker to one connection, and returns at once. kill ends that worker; the detail goes into its
// wire.Exit.
func (s *Server) ServeConn(c Connection) (kill func(detail string), err error) {
	if err := s.Start(); err != nil {
		c.File.Close()
		return nil, err
	}
	return s.sup.serve(c)
}

// Ahead is a connection that was made before anybody uses it: see ServeAhead.
type Ahead interface {
	// Claim says that the client uses the connection from now on. A second Claim does nothing.
	Claim()
	// Kill ends the connection's worker; the detail goes into its wire.Exit.
	Kill(detail string)
}

// ServeAhead gives a standby of its own to a connection that nobody uses yet, and returns at once: a worker is started and
// set up for it, as slowly as after earlier failures if there were some, and then waits for the client's first byte, which
// tells its wire; Connection.Wire is not looked at. ready is called once if the worker gets that far. Unlike a standby of
// Limits.Standby, the worker needs nobody but its client to begin.
func (s *Server) ServeAhead(c Connection, ready func()) (Ahead, error) {
	if err := s.Start(); err != nil {
		c.File.Close()
		return nil, err
	}
	return s.sup.serveAhead(c, ready)
}

// Shutdown takes no more connections, ends standby workers, and waits until the clients have released the others. When
// ctx ends first it closes the server and returns the context's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	sup := s.started()
	if sup == nil {
		return nil
	}
	err := sup.drain(ctx)
	return errors.Join(err, s.Close())
}

// Close takes no more connections, cancels the handlers that run, and kills what is left after CancelGrace. It
// returns when all workers are reaped; after two more seconds it returns a *StuckError. A second Close does nothing.
func (s *Server) Close() error {
	s.stop()
	sup := s.started()
	if sup == nil {
		return nil
	}
	if pids := sup.close(); len(pids) > 0 {
		return &StuckError{Service: s.Service.name, Pids: pids}
	}
	return nil
}

// Kill ends all workers at once, without cancelling their handlers first, and does not wait for their end. Close still
// has to be called.
func (s *Server) Kill() {
	s.stop()
	if sup := s.started(); sup != nil {
		sup.killAll()
		sup.killRest()
	}
}

// Start checks the configuration and starts the standby workers. It is optional: Serve and ServeConn call it.
func (s *Server) Start() error {
	s.once.Do(func() {
		if s.err = s.Service.Check(); s.err == nil {
			s.sup, s.err = newSupervisor(s)
		}
	})
	return s.err
}

// started returns the supervisor, or nil if nothing was started. Then nothing will be.
func (s *Server) started() *supervisor {
	s.once.Do(func() { s.err = ErrServerClosed })
	return s.sup
}

func (s *Server) track(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	if s.listeners == nil {
		s.listeners = map[net.Listener]struct{}{}
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) untrack(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	l.Close()
}

// stop closes the listeners.
func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	for l := range s.listeners {
		l.Close()
	}
}

func (s *Server) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// ListenAndServe listens on a unix path or a TCP address and serves s there until ctx ends; then it closes everything
// and returns nil. The program's main must begin with forkserver.Init. See Listen for the rules of addresses.
func ListenAndServe(ctx context.Context, network, address string, s *Service) error {
	l, err := Listen(s, network, address)
	if err != nil {
		return err
	}
	srv := &Server{Service: s}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	err = srv.Serve(l)
	if errors.Is(err, ErrServerClosed) && ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, srv.Close())
}
