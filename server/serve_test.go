//go:build linux

package server_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func TestServerInTheApp(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"unix", "tcp"} {
		for _, kind := range []wire.Kind{wire.Binary, wire.JSON} {
			t.Run(network+" "+kind.String(), func(t *testing.T) {
				t.Parallel()
				s := newServer(t, server.Limits{})
				address := s.serve(t, network)
				p := newPool(t, dialer(network, address), pool.Config{Wire: kind, MaxWorkers: 2})
				for _, text := range []string{"", "hello", "ünïcode ☃ 𝄞\x00\n"} {
					if got, err := echo.Call(proctest.Limited(t), p, text); err != nil || got != text {
						t.Errorf("%q: %q, %v", text, got, err)
					}
				}
				first, err := p.Checkout(proctest.Limited(t))
				if err != nil {
					t.Fatal(err)
				}
				defer first.Release()
				one, err := getpid.Call(proctest.Limited(t), first)
				if err != nil || one == os.Getpid() {
					t.Errorf("worker %d, %v", one, err)
				}
				if two, err := getpid.Call(proctest.Limited(t), p); err != nil || one == two {
					t.Errorf("worker %d and %d, %v", one, two, err)
				}
				if n := s.started(); n != 2 {
					t.Errorf("%d workers were started", n)
				}
			})
		}
	}
}

func TestSeveralListeners(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{Standby: 1})
	for _, network := range []string{"unix", "tcp", "unix"} {
		p := newPool(t, dialer(network, s.serve(t, network)), pool.Config{})
		if _, err := getpid.Call(proctest.Limited(t), p); err != nil {
			t.Errorf("%s: %v", network, err)
		}
	}
}

// A standby is started with the server, and taken by the first client.
func TestStartMakesStandbys(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{Standby: 1})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	ready := s.events.Wait(t, "the standby", func(e server.Event) bool { return e.Type == server.WorkerReady })
	p := newPool(t, dialer("unix", s.serve(t, "unix")), pool.Config{})
	if pid, err := getpid.Call(proctest.Limited(t), p); err != nil || pid != ready.Pid {
		t.Errorf("worker %d instead of %d, %v", pid, ready.Pid, err)
	}
}

func TestCloseOfAServerInTheApp(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{})
	address := s.serve(t, "unix")
	p := newPool(t, pool.Unix(address), pool.Config{})
	good, bad := wait.Go(context.Background(), p), block.Go(context.Background(), p)
	s.lines.Says(t, "waiting")
	s.lines.Says(t, "blocking")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s.lines.Says(t, "canceled")
	for _, c := range []*wire.Pending[wire.None]{good, bad} {
		if _, err := c.Wait(); err == nil {
			t.Error("a call has ended well")
		}
	}
	if _, err := os.Lstat(address); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket file: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "late"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l); err != server.ErrServerClosed {
		t.Errorf("Serve after Close: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("its listener: %v", err)
	}
}

func TestShutdownOfAServerInTheApp(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{Standby: 2})
	address := s.serve(t, "unix")
	p := newPool(t, pool.Unix(address), pool.Config{})
	co, err := p.Checkout(proctest.Limited(t))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	proctest.Eventually(t, "no connection is taken", func() bool {
		c, err := net.Dial("unix", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if got, err := echo.Call(proctest.Limited(t), co, "still held"); err != nil || got != "still held" {
		t.Errorf("on the checkout: %q, %v", got, err)
	}
	select {
	case err := <-ended:
		t.Fatalf("Shutdown has not waited for the checkout: %v", err)
	default:
	}
	co.Release()
	p.Close() // another program's pool can't be told
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if left := proctest.InTree(s.mark); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestShutdownOfAServerLosesItsPatience(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{})
	p := newPool(t, pool.Unix(s.serve(t, "unix")), pool.Config{})
	block.Go(context.Background(), p)
	s.lines.Says(t, "blocking")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if left := proctest.InTree(s.mark); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Nothing is started to be closed at once.
func TestCloseOfAServerThatNeverServed(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*server.Server) error{
		"Close":    (*server.Server).Close,
		"Shutdown": func(s *server.Server) error { return s.Shutdown(context.Background()) },
		"Kill":     func(s *server.Server) error { s.Kill(); return nil },
	} {
		s := newServer(t, server.Limits{Standby: 3})
		if err := stop(s.Server); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := s.started(); n > 0 {
			t.Errorf("%s has started %d workers", name, n)
		}
		if err := s.Start(); err != server.ErrServerClosed {
			t.Errorf("Start after %s: %v", name, err)
		}
	}
}

// A mistake in the service, or one of the server, is reported by whatever starts it.
func TestServersThatDoNotStart(t *testing.T) {
	t.Parallel()
	late := server.NewService("late "+proctest.NewMark(), server.Hooks{})
	for name, s := range map[string]*server.Server{
		"no service":   {},
		"late service": {Service: late},
		"setup data":   {Service: basic, SetupData: make(chan int)},
	} {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Serve(l); err == nil {
			t.Errorf("%s: no error", name)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: Close: %v", name, err)
		}
	}
}

// serveConn has s serve one end of a socket pair. The other end, and the worker's end when it comes, are returned.
func serveConn(t *testing.T, s *local) (client *os.File, exit chan *wire.Exit, kill func(string)) {
	t.Helper()
	ours, theirs, err := control.Socketpair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	exit = make(chan *wire.Exit, 2)
	kill, err = s.ServeConn(server.Connection{File: theirs, OnExit: func(e *wire.Exit) { exit <- e }})
	if err != nil {
		t.Fatal(err)
	}
	return ours, exit, kill
}

func receive(t *testing.T, exit chan *wire.Exit) *wire.Exit {
	t.Helper()
	select {
	case e := <-exit:
		return e
	case <-time.After(patience):
		t.Fatal("the worker's end was not reported")
		panic("unreachable")
	}
}

func TestServeConn(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{})
	client, exit, _ := serveConn(t, s)
	client.Close()
	if e := receive(t, exit); e.Reason != wire.ExitRetired || e.Code != 0 || e.Number != 1 {
		t.Errorf("%+v", e)
	}
	_, exit, kill := serveConn(t, s)
	kill("not needed") // perhaps before its worker is there
	if e := receive(t, exit); e.Reason != wire.ExitCanceled || e.Detail != "not needed" {
		t.Errorf("%+v", e)
	}
	s.Close()
	ours, theirs, err := control.Socketpair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	if _, err := s.ServeConn(server.Connection{File: theirs}); err != server.ErrServerClosed {
		t.Errorf("after Close: %v", err)
	}
	if n, err := ours.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("its connection is still open: %v", err)
	}
}

// A worker that can't be started costs its own client a connection, and not the server.
func TestWorkerThatCannotBeStarted(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*server.Server){
		"no program":   func(s *server.Server) { s.Path = "/nonexistent" },
		"no directory": func(s *server.Server) { s.Dir = "/nonexistent" },
	} {
		s := newServer(t, server.Limits{Standby: 1})
		change(s.Server)
		for range 3 {
			client, exit, _ := serveConn(t, s)
			if e := receive(t, exit); e.Reason != wire.ExitNotStarted || e.Code != -1 || e.Detail == "" {
				t.Errorf("%s: %+v", name, e)
			}
			if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("%s: the connection is still open: %v", name, err)
			}
		}
		s.lines.Says(t, "a worker could not be started")
	}
}

// A program that is not a worker ends, and how is told.
func TestWorkerThatIsNone(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{})
	s.Path = "/bin/sleep" // without an operand
	_, exit, _ := serveConn(t, s)
	if e := receive(t, exit); e.Reason != wire.ExitExited || e.Code != 1 || len(e.StderrHead) == 0 {
		t.Errorf("%+v, stderr %q", e, e.StderrHead)
	}
}
