//go:build linux

package forkserver_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/leaktest"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

const (
	patience = proctest.Patience // no wait takes longer
	soon     = patience / 2      // for what must not wait for anything
	survival = proctest.Survival
	slowdown = proctest.Slowdown
	envApp   = proctest.EnvApp
	envMark  = proctest.EnvMark
)

// apps are what the test binary can be instead of a test: an app with a tree of its own, started by proctest.StartApp.
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

// record is a log record.
type record struct {
	level hclog.Level
	msg   string
	args  map[string]string
}

// logs is a feed of records that is a logger's sink.
type logs struct{ *proctest.Feed[record] }

func newLogger() (hclog.Logger, logs) {
	l := logs{proctest.NewFeed[record]()}
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
	l.Add(r)
}

// said waits for a record with that message.
func (l logs) said(t *testing.T, msg string) record {
	t.Helper()
	return l.Wait(t, "the log record "+msg, func(r record) bool { return r.msg == msg })
}

// tree is a server of a test, with its workers.
type tree struct {
	*forkserver.Process
	mark   string
	logs   logs
	events *proctest.Feed[server.Event]
	races  bool // are wanted
}

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
	tr := &tree{mark: proctest.NewMark(), events: proctest.NewFeed[server.Event]()}
	c.Logger, tr.logs = newLogger()
	c.OnEvent = tr.events.Add
	if c.Env == nil {
		c.Env = os.Environ()
	}
	c.Env = append(c.Env[:len(c.Env):len(c.Env)], envMark+"="+tr.mark)
	var err error
	tr.Process, err = forkserver.Start(ctx, s, c)
	if err != nil {
		proctest.Gone(t, tr.mark, survival)
		return nil, err
	}
	t.Cleanup(func() {
		tr.Close()
		proctest.Gone(t, tr.mark, survival)
		for _, r := range tr.logs.List() {
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

func checkout(t *testing.T, p *pool.Pool) *pool.Checkout {
	t.Helper()
	co, err := p.Checkout(proctest.Limited(t))
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
