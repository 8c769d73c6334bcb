//go:build linux

package forkserver_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func kill(pid int, sig syscall.Signal) { syscall.Kill(pid, sig) }

// stop stops a process. The signal alone does not: a thread that runs somewhere else goes on for a moment.
func stop(t *testing.T, pid int) {
	t.Helper()
	kill(pid, syscall.SIGSTOP)
	proctest.Eventually(t, "all threads of the process stop", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, thread := range threads {
			stat, _ := os.ReadFile(thread)
			if _, state, _ := strings.Cut(string(stat), ") "); !strings.HasPrefix(state, "T") {
				return false
			}
		}
		return true
	})
}

// closed waits for the channel to be closed.
func closed(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("it did not happen: %s", what)
	}
}

func TestServerIsKilled(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 1}})
	p := newPool(t, tr, poolConfig)
	co, idle := checkout(t, p), checkout(t, p)
	idle.Release()
	running := wait.Go(context.Background(), co)
	tr.logs.said(t, "waiting")
	pid := tr.Pid()

	kill(pid, syscall.SIGKILL)
	begin := time.Now()
	_, err := running.Wait()
	if took := time.Since(begin); took > soon {
		t.Errorf("the running call ended after %v", took)
	}
	var died *pool.WorkerDiedError
	if !errors.As(err, &died) || died.Pid != co.Pid() || !strings.Contains(err.Error(), "server") {
		t.Errorf("the running call: %v", err)
	}
	for _, worker := range []int{co.Pid(), idle.Pid()} {
		proctest.Ends(t, worker, survival)
	}
	if _, err := getpid.Call(proctest.Limited(t), p); err != nil {
		t.Errorf("a later call, on the new server: %v", err)
	}
	if now := tr.Pid(); now == pid || now == 0 {
		t.Errorf("the server's pid is %d, and was %d", now, pid)
	}
	if err := tr.Err(); err != nil {
		t.Errorf("Err: %v", err)
	}
	if _, err := getpid.Call(proctest.Limited(t), co); !errors.As(err, &died) {
		t.Errorf("a later call on the checkout: %v", err)
	}
	ended := tr.events.Wait(t, "the server's end", func(e server.Event) bool { return e.Type == server.ServerEnded })
	if ended.Pid != pid || !strings.Contains(ended.Err, "signal 9") {
		t.Errorf("%+v", ended)
	}
	if err := tr.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// What a server prints before its death is in the error.
func TestServerCrashes(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	kill(tr.Pid(), syscall.SIGABRT)
	ended := tr.events.Wait(t, "the server's end", func(e server.Event) bool { return e.Type == server.ServerEnded })
	if !strings.Contains(ended.Err, "SIGABRT") {
		t.Errorf("%+v", ended)
	}
	tr.logs.Wait(t, "what it prints", func(r record) bool { return strings.HasPrefix(r.msg, "SIGABRT") })
}

func TestServerIsKilledWhileWorkersStart(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 3}})
	p := newPool(t, tr, poolConfig)
	var calls []*wire.Pending[int]
	for range 10 {
		calls = append(calls, getpid.Go(proctest.Limited(t), p))
	}
	tr.events.Wait(t, "a worker", func(e server.Event) bool { return e.Type == server.WorkerStarted })
	kill(tr.Pid(), syscall.SIGKILL)
	for i, c := range calls {
		var died *pool.WorkerDiedError
		if _, err := c.Wait(); err != nil && !errors.As(err, &died) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// A server that nobody can talk to is killed by Close.
func TestCloseOfAStoppedServer(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	running := wait.Go(context.Background(), checkout(t, p))
	tr.logs.said(t, "waiting")
	stop(t, tr.Pid())
	begin := time.Now()
	if err := tr.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if took := time.Since(begin); took > soon {
		t.Errorf("Close took %v", took)
	}
	if _, err := running.Wait(); err == nil {
		t.Error("the running call ended well")
	}
	proctest.Gone(t, tr.mark, survival)
}

// A server that was closed has not died.
func TestErrOfAClosedServer(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	if err := tr.Err(); err != nil {
		t.Errorf("while it runs: %v", err)
	}
	select {
	case <-tr.Done():
		t.Error("Done is closed")
	default:
	}
	if err := tr.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	closed(t, "Done", tr.Done())
	if err := tr.Err(); err != nil {
		t.Errorf("after Close: %v", err)
	}
	if _, err := tr.Dial(context.Background()); !errors.Is(err, wire.ErrServerGone) {
		t.Errorf("Dial: %v", err)
	}
}
