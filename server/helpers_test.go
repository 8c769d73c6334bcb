//go:build linux

package server_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/leaktest"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

const (
	patience = proctest.Patience // no wait takes longer
	envApp   = proctest.EnvApp
	envMark  = proctest.EnvMark
)

// apps are the programs that the test binary can be instead of a test, started by proctest.StartApp.
var apps = map[string]func(){}

func TestMain(m *testing.M) {
	forkserver.Init()
	if run := apps[os.Getenv(envApp)]; run != nil {
		run()
		os.Exit(0)
	}
	os.Exit(leaktest.Main(m))
}

var basic = server.NewService("basic", server.Hooks{})

var (
	getpid = server.Handle0(basic, "getpid", func(context.Context) (int, error) { return os.Getpid(), nil })

	echo = server.Handle(basic, "echo", func(_ context.Context, s string) (string, error) { return s, nil })

	// wait returns when its context ends.
	wait = server.Handle0(basic, "wait", func(ctx context.Context) (wire.None, error) {
		fmt.Println("waiting")
		<-ctx.Done()
		fmt.Println("canceled")
		return wire.None{}, context.Cause(ctx)
	})

	// show makes a file, and then never returns.
	show = server.Handle(basic, "show", func(_ context.Context, path string) (wire.None, error) {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return wire.None{}, err
		}
		select {}
	})

	// block never returns.
	block = server.Handle0(basic, "block", func(context.Context) (wire.None, error) {
		fmt.Println("blocking")
		select {}
	})
)

// lines is a logger's sink that keeps the messages.
type lines struct{ proctest.Lines }

// Accept implements hclog.SinkAdapter.
func (l lines) Accept(_ string, _ hclog.Level, msg string, args ...any) {
	l.Add(strings.TrimSpace(msg + " " + fmt.Sprintln(args...)))
}

// local is a Server in the test's own process.
type local struct {
	*server.Server
	lines  lines
	events *proctest.Feed[server.Event]
	mark   string
}

// newServer makes a server of the service basic that is closed at the test's end. Nothing may be left of it then.
func newServer(t *testing.T, limits server.Limits) *local {
	t.Helper()
	s := &local{lines: lines{proctest.NewLines()}, events: proctest.NewFeed[server.Event](), mark: proctest.NewMark()}
	logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
	logger.RegisterSink(s.lines)
	s.Server = &server.Server{Service: basic, Limits: limits, Logger: logger, OnEvent: s.events.Add,
		Env: append(os.Environ(), envMark+"="+s.mark)}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if left := proctest.InTree(s.mark); len(left) > 0 {
			t.Errorf("left after Close: %v", left)
		}
	})
	return s
}

// serve has s serve on a unix path or a TCP address, until it is closed.
func (s *local) serve(t *testing.T, network string) (address string) {
	t.Helper()
	address = "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "socket")
	}
	l, err := server.Listen(basic, network, address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != server.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

func dialer(network, address string) pool.Dialer {
	if network == "unix" {
		return pool.Unix(address)
	}
	return pool.TCP(address, nil)
}

func newPool(t *testing.T, d pool.Dialer, c pool.Config) *pool.Pool {
	t.Helper()
	if c.MinWorkers == 0 {
		c.MinWorkers = -1
	}
	p, err := pool.New(d, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// started counts the worker processes that were started so far.
func (s *local) started() (n int) {
	for _, e := range s.events.List() {
		if e.Type == server.WorkerStarted {
			n++
		}
	}
	return n
}
