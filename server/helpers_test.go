//go:build linux

package server_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/leaktest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

const (
	patience = 20 * time.Second // no wait takes longer
	envApp   = "BULLPEN_SERVER_TEST"
	envMark  = "BULLPEN_SERVER_TEST_TREE"
)

// apps are the programs that the test binary can be instead of a test, started by startApp.
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

// feed collects what arrives.
type feed[T any] struct {
	mu   sync.Mutex // guards all below
	all  []T
	more chan struct{} // closed by the next add
}

func newFeed[T any]() *feed[T] { return &feed[T]{more: make(chan struct{})} }

func (f *feed[T]) add(v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, v)
	close(f.more)
	f.more = make(chan struct{})
}

func (f *feed[T]) list() []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]T(nil), f.all...)
}

// wait waits for the first of which ok is true.
func (f *feed[T]) wait(t *testing.T, what string, ok func(T) bool) T {
	t.Helper()
	late := time.After(patience)
	for {
		f.mu.Lock()
		all, more := f.all, f.more
		f.mu.Unlock()
		for _, v := range all {
			if ok(v) {
				return v
			}
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("it did not come: %s, among %d: %.2000s", what, len(all), fmt.Sprint(all))
		}
	}
}

// lines is a logger's sink that keeps the messages.
type lines struct{ *feed[string] }

// Accept implements hclog.SinkAdapter.
func (l lines) Accept(_ string, _ hclog.Level, msg string, args ...any) {
	l.add(strings.TrimSpace(msg + " " + fmt.Sprintln(args...)))
}

// says waits for a line with that beginning, and returns the rest of it.
func (l lines) says(t *testing.T, begin string) string {
	t.Helper()
	line := l.wait(t, begin, func(s string) bool { return strings.HasPrefix(s, begin) })
	return strings.TrimSpace(line[len(begin):])
}

// local is a Server in the test's own process.
type local struct {
	*server.Server
	lines  lines
	events *feed[server.Event]
	mark   string
}

// newServer makes a server of the service basic that is closed at the test's end. Nothing may be left of it then.
func newServer(t *testing.T, limits server.Limits) *local {
	t.Helper()
	s := &local{lines: lines{newFeed[string]()}, events: newFeed[server.Event](), mark: newMark()}
	logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
	logger.RegisterSink(s.lines)
	s.Server = &server.Server{Service: basic, Limits: limits, Logger: logger, OnEvent: s.events.add,
		Env: append(os.Environ(), envMark+"="+s.mark)}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if left := inTree(s.mark); len(left) > 0 {
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

// limited returns a context that ends with the test's patience.
func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// started counts the worker processes that were started so far.
func (s *local) started() (n int) {
	for _, e := range s.events.list() {
		if e.Type == server.WorkerStarted {
			n++
		}
	}
	return n
}

var marks atomic.Int64

func newMark() string { return fmt.Sprintf("%d-%d", os.Getpid(), marks.Add(1)) }

// inTree lists the pids of processes that have the mark in their environment. A zombie has none any more.
func inTree(mark string) (pids []int) {
	want := []byte(envMark + "=" + mark + "\x00")
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if env, _ := os.ReadFile("/proc/" + e.Name() + "/environ"); bytes.Contains(env, want) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// eventually waits until ok is true: for what nobody tells.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// app is the test binary as a program of its own.
type app struct {
	*exec.Cmd
	mark  string
	lines lines
	ended chan struct{}
}

func startApp(t *testing.T, mode string, change func(*exec.Cmd)) *app {
	t.Helper()
	a := &app{Cmd: exec.Command("/proc/self/exe"), mark: newMark(), lines: lines{newFeed[string]()}, ended: make(chan struct{})}
	a.Env = append(os.Environ(), envApp+"="+mode, envMark+"="+a.mark)
	a.Stderr = os.Stderr
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	a.Stdout = w
	if change != nil {
		change(a.Cmd)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		defer close(a.ended)
		defer out.Close()
		for r := bufio.NewScanner(out); r.Scan(); {
			a.lines.add(r.Text())
		}
		a.Wait()
	}()
	t.Cleanup(func() {
		a.Process.Signal(syscall.SIGKILL)
		<-a.ended
		eventually(t, "all of the program ends", func() bool { return len(inTree(a.mark)) == 0 })
	})
	return a
}
