//go:build linux || darwin

package pool_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

// patience bounds every wait of a test. It is long, as the machine may be busy with other things.
const patience = 30 * time.Second

// limited returns a context that ends with the test, or with its patience.
func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func start(t testing.TB, s *server.Service, c forkserver.Config) *forkserver.Process {
	t.Helper()
	p, err := forkserver.Start(limited(t), s, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// newPool makes a pool. It has no workers in advance unless c asks for them.
func newPool(t testing.TB, d pool.Dialer, c pool.Config) *pool.Pool {
	t.Helper()
	if c.MinWorkers == 0 {
		c.MinWorkers = -1
	}
	if c.Name == "" {
		c.Name = t.Name()
	}
	p, err := pool.New(d, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func checkout(t testing.TB, p interface {
	Checkout(context.Context) (*pool.Checkout, error)
}) *pool.Checkout {
	t.Helper()
	co, err := p.Checkout(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(co.Release)
	return co
}

// must returns a call's result, or fails the test.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// as fails the test unless err is an E.
func as[E error](t testing.TB, err error) E {
	t.Helper()
	var e E
	if !errors.As(err, &e) {
		t.Fatalf("the error is %T (%v) instead of %T", err, err, e)
	}
	return e
}

// is fails the test unless err is target.
func is(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("the error is %T (%v) instead of %q", err, err, target)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v instead of %v", what, got, want)
	}
}

// recv receives from a channel, and fails the test if nothing comes.
func recv[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// until waits for what no event tells of.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to this: " + what)
		}
	}
}

// stop stops a process. The signal alone does not: a thread that runs somewhere else goes on for a moment.
func stop(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until(t, "the process is stopped", func() bool { return isStopped(pid) })
}

// queuing returns a context and a channel that is closed when somebody waits for the context's end: a call that is in
// its checkout's queue, or a checkout that is in its pool's.
func queuing(ctx context.Context) (context.Context, <-chan struct{}) {
	q := &queuingContext{Context: ctx, waits: make(chan struct{})}
	return q, q.waits
}

type queuingContext struct {
	context.Context
	once  sync.Once
	waits chan struct{}
}

func (c *queuingContext) Done() <-chan struct{} {
	c.once.Do(func() { close(c.waits) })
	return c.Context.Done()
}

// result is how a call ended that ran in a goroutine of its own.
type result[T any] struct {
	val T
	err error
}

// background runs f, and returns its result in a channel.
func background[T any](f func() (T, error)) <-chan result[T] {
	c := make(chan result[T], 1)
	go func() {
		v, err := f()
		c <- result[T]{v, err}
	}()
	return c
}

// shortDir returns a directory whose name leaves room for a socket's.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func tempFile(t testing.TB, name string) string { return filepath.Join(t.TempDir(), name) }

// gate is where handlers show that they run, and wait until they may go on.
type gate struct {
	path string
	l    net.Listener
}

func newGate(t testing.TB) *gate {
	t.Helper()
	g := &gate{path: filepath.Join(shortDir(t), "gate")}
	var err error
	if g.l, err = net.Listen("unix", g.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.l.Close() })
	return g
}

// held is a handler that has shown at a gate.
type held struct {
	pid int
	c   net.Conn
}

// next waits for the next handler.
func (g *gate) next(t testing.TB) *held {
	t.Helper()
	g.l.(*net.UnixListener).SetDeadline(time.Now().Add(patience))
	c, err := g.l.Accept()
	if err != nil {
		t.Fatal("no handler came: ", err)
	}
	t.Cleanup(func() { c.Close() })
	h := &held{c: c}
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := fmt.Fscanln(bufio.NewReader(c), &h.pid); err != nil {
		t.Fatal(err)
	}
	return h
}

// open lets the handler go on.
func (h *held) open() { h.c.Close() }

// gone waits until the handler has returned, or its process has ended.
func (h *held) gone(t testing.TB) {
	t.Helper()
	h.c.SetReadDeadline(time.Now().Add(patience))
	if n, err := h.c.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the handler is there still: ", err)
	}
}
