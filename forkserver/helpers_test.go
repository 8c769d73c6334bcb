//go:build linux

package forkserver_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
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
)

const (
	patience = 20 * time.Second // no wait takes longer
	soon     = patience / 2     // for what must not wait for anything
	survival = time.Second      // how long what belongs to a dead process may live on
	envApp   = "BULLPEN_TEST_APP"
	envMark  = "BULLPEN_TEST_TREE"
)

// apps are what the test binary can be instead of a test: an app with a tree of its own, started by startApp.
var apps = map[string]func(){}

func TestMain(m *testing.M) {
	forkserver.Init()
	if run := apps[os.Getenv(envApp)]; run != nil {
		run()
		os.Exit(0)
	}
	code := leaktest.Main(m)
	if dir := programsDir; dir != "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

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

// record is a log record.
type record struct {
	level hclog.Level
	msg   string
	args  map[string]string
}

// logs is a feed of records that is a logger's sink.
type logs struct{ *feed[record] }

func newLogger() (hclog.Logger, logs) {
	l := logs{newFeed[record]()}
	logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
	logger.RegisterSink(l)
	return logger, l
}

// Accept implements hclog.SinkAdapter.
func (l logs) Accept(_ string, level hclog.Level, msg string, args ...any) {
	r := record{level, msg, map[string]string{}}
	for i := 0; i+1 < len(args); i += 2 {
		r.args[fmt.Sprint(args[i])] = fmt.Sprint(args[i+1])
	}
	l.add(r)
}

// said waits for a record with that message.
func (l logs) said(t *testing.T, msg string) record {
	t.Helper()
	return l.wait(t, "the log record "+msg, func(r record) bool { return r.msg == msg })
}

// tree is a server of a test, with its workers.
type tree struct {
	*forkserver.Process
	mark   string
	logs   logs
	events *feed[server.Event]
	races  bool // are wanted
}

var marks atomic.Int64

// newMark returns what tells the processes of one tree from all others.
func newMark() string { return fmt.Sprintf("%d-%d", os.Getpid(), marks.Add(1)) }

// start starts a server. At the test's end it is closed, and nothing may be left of it.
func start(t *testing.T, s *server.Service, c forkserver.Config) *tree {
	t.Helper()
	tr, err := tryStart(t, context.Background(), s, c)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func tryStart(t *testing.T, ctx context.Context, s *server.Service, c forkserver.Config) (*tree, error) {
	t.Helper()
	tr := &tree{mark: newMark(), events: newFeed[server.Event]()}
	c.Logger, tr.logs = newLogger()
	c.OnEvent = tr.events.add
	if c.Env == nil {
		c.Env = os.Environ()
	}
	c.Env = append(c.Env[:len(c.Env):len(c.Env)], envMark+"="+tr.mark)
	var err error
	tr.Process, err = forkserver.Start(ctx, s, c)
	if err != nil {
		gone(t, tr.mark, survival)
		return nil, err
	}
	t.Cleanup(func() {
		tr.Close()
		gone(t, tr.mark, survival)
		for _, r := range tr.logs.list() {
			if !tr.races && strings.Contains(r.msg, "DATA RACE") {
				t.Errorf("a data race in process %s", r.args["pid"])
			}
		}
	})
	return tr, nil
}

// newPool makes a pool that is closed before its server is.
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

func checkout(t *testing.T, p *pool.Pool) *pool.Checkout {
	t.Helper()
	co, err := p.Checkout(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(co.Release)
	return co
}

// must returns the result of a call that may not fail.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// proc is a process of a tree.
type proc struct {
	pid   int
	state string
	title string
}

// inTree lists the processes that have the mark in their environment. A zombie has none any more.
func inTree(mark string) (found []proc) {
	want := []byte(envMark + "=" + mark + "\x00")
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); bytes.Contains(env, want) {
			found = append(found, proc{pid, state(pid), title(pid)})
		}
	}
	return found
}

// state returns a process's state as in proc(5), or "".
func state(pid int) string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := strings.Cut(string(stat), ") ")
	if !ok {
		return ""
	}
	return rest[:1]
}

// alive reports whether a process runs, or is stopped. A zombie does not.
func alive(pid int) bool { return !strings.Contains("ZX", state(pid)) }

func title(pid int) string {
	cmd, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimRight(strings.ReplaceAll(string(cmd), "\x00", " "), " ")
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

// within waits until ok is true, and reports whether that took no longer than d. What a busy machine keeps from this
// process doesn't count: it keeps as much from others.
func within(d time.Duration, ok func() bool) bool {
	const pause = 10 * time.Millisecond
	for waited := time.Duration(0); !ok(); waited += pause {
		if waited > d*slowdown {
			return false
		}
		time.Sleep(pause)
	}
	return true
}

// gone fails the test unless the tree has no process any more after d.
func gone(t *testing.T, mark string, d time.Duration) {
	t.Helper()
	begin := time.Now()
	if !within(d, func() bool { return len(inTree(mark)) == 0 }) {
		if left := inTree(mark); len(left) > 0 {
			t.Errorf("left after %v: %+v", time.Since(begin), left)
			for _, p := range left {
				syscall.Kill(p.pid, syscall.SIGKILL)
			}
		}
	}
}
