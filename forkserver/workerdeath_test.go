//go:build linux

package forkserver_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// end has a worker die in the given way, and returns its tree and the call's error.
func end(t *testing.T, how string) (*tree, *pool.WorkerDiedError) {
	t.Helper()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Procs: 2}}) // a map race needs two
	tr.races = how == "map race"
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	_, err := die.Call(proctest.Limited(t), co, how)
	var died *pool.WorkerDiedError
	if !errors.As(err, &died) {
		t.Fatalf("%s: %v", how, err)
	}
	if died.Pid != co.Pid() || died.Exit.Pid != died.Pid || died.Method != "die" {
		t.Errorf("%s: pid %d and %d instead of %d, method %q", how, died.Pid, died.Exit.Pid, co.Pid(), died.Method)
	}
	if got, err := echo.Call(proctest.Limited(t), p, "go on"); got != "go on" || err != nil {
		t.Errorf("%s: the next call: %q, %v", how, got, err)
	}
	return tr, died
}

func TestHowAWorkerDied(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		how    string
		reason wire.ExitReason
		code   int
		signal syscall.Signal
		says   string
	}{
		{"exit 0", wire.ExitExited, 0, 0, ""},
		{"exit 3", wire.ExitExited, 3, 0, ""},
		{"said", wire.ExitExited, 4, 0, "last words\n"},
		{"SIGKILL", wire.ExitKilled, -1, syscall.SIGKILL, ""},
		{"SIGSEGV", wire.ExitCrashed, 2, 0, "SIGSEGV"},
		{"SIGABRT", wire.ExitCrashed, 2, 0, "SIGABRT: abort"},
		{"panic", wire.ExitCrashed, 2, 0, "panic: out of order"},
		{"nil", wire.ExitCrashed, 2, 0, "nil pointer dereference"},
		{"map race", wire.ExitCrashed, 2, 0, "fatal error: concurrent map writes"},
		{"stack overflow", wire.ExitCrashed, 2, 0, "stack overflow"},
	} {
		t.Run(test.how, func(t *testing.T) {
			t.Parallel()
			tr, died := end(t, test.how)
			e := died.Exit
			if e.Reason != test.reason || e.Code != test.code || e.Signal != int(test.signal) || (e.SignalName != "") != (test.signal != 0) {
				t.Errorf("%s: code %d, signal %d %q", e.Reason, e.Code, e.Signal, e.SignalName)
			}
			if !strings.Contains(e.Stderr(), test.says) || test.says == "" && e.Stderr() != "" {
				t.Errorf("its stderr: %q", e.Stderr())
			}
			if h := e.Headline(); test.says != "" && (h == "" || strings.HasPrefix(h, "===") || !strings.Contains(died.Error(), h)) { // as the race detector begins
				t.Errorf("its headline %q is not in %q", h, died.Error())
			}
			ended := tr.events.Wait(t, "its end", func(ev server.Event) bool { return ev.Type == server.WorkerEnded && ev.Pid == died.Pid })
			if ended.Exit == nil || ended.Exit.Reason != e.Reason || ended.Exit.Code != e.Code || ended.Number != e.Number {
				t.Errorf("the event: %+v", ended.Exit)
			}
			if e.MaxRSS < 1<<20 || e.UserTime+e.SystemTime <= 0 {
				t.Errorf("what it used: %d bytes, %v, %v", e.MaxRSS, e.UserTime, e.SystemTime)
			}
		})
	}
}

func TestHeadAndTailOfStderr(t *testing.T) {
	t.Parallel()
	tr, died := end(t, "long stderr")
	e := died.Exit
	if len(e.StderrHead) != 4<<10 || len(e.StderrTail) != 4<<10 || e.StderrSkipped < 50<<10 {
		t.Errorf("%d bytes, %d skipped, %d bytes", len(e.StderrHead), e.StderrSkipped, len(e.StderrTail))
	}
	if !strings.HasPrefix(string(e.StderrHead), "first line\n0123") || !strings.HasSuffix(string(e.StderrTail), "abcde\nlast line\n") {
		t.Errorf("head %.20q, tail %q", e.StderrHead, e.StderrTail[len(e.StderrTail)-20:])
	}
	tr.logs.said(t, "last line") // all of it is forwarded
	n := 0
	for _, r := range tr.logs.List() {
		if r.msg == "0123456789abcde" {
			n++
		}
	}
	if n != 4096 {
		t.Errorf("%d lines of 4096 were forwarded", n)
	}
}

// A worker that is killed from outside while it is idle costs no call.
func TestIdleWorkerDies(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	pid := must(getpid.Call(proctest.Limited(t), p))(t)
	kill(pid, syscall.SIGKILL)
	tr.events.Wait(t, "its end", func(e server.Event) bool { return e.Type == server.WorkerEnded && e.Pid == pid })
	proctest.Eventually(t, "the pool notices", func() bool { return p.Stat().Total == 0 })
	if next := must(getpid.Call(proctest.Limited(t), p))(t); next == pid {
		t.Error("the same worker")
	}
}

// What a worker has started in its process group ends with it, however it ends.
func TestChildrenOfAWorkerEndWithIt(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"release", "exit 0", "SIGKILL", "panic", "timeout"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			tr := start(t, basic, forkserver.Config{})
			p := newPool(t, tr, pool.Config{MinWorkers: -1, MaxCheckouts: 1})
			co := checkout(t, p)
			pids := must(children.Call(proctest.Limited(t), co, 3, false))(t)
			switch how {
			case "release":
				co.Release()
			case "timeout":
				ctx, cancel := context.WithCancel(proctest.Limited(t))
				running := block.Go(ctx, co, "loop")
				tr.logs.said(t, "blocking")
				cancel()
				running.Wait()
			default:
				die.Call(proctest.Limited(t), co, how)
			}
			proctest.Eventually(t, "they end", func() bool {
				for _, pid := range pids {
					if proctest.Alive(pid) {
						return false
					}
				}
				return true
			})
		})
	}
}

// What a worker has left behind outside its process group comes to the server, which kills and reaps it.
func TestServerEndsWhatItAdopts(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	pids := must(children.Call(proctest.Limited(t), co, 3, true))(t)
	die.Call(proctest.Limited(t), co, "exit 0")
	tr.events.Wait(t, "the worker's end", func(e server.Event) bool { return e.Type == server.WorkerEnded })
	for _, pid := range pids {
		proctest.Eventually(t, "it is reaped", func() bool { return proctest.State(pid) == "" })
	}
}

// What hides better is let go, and reaped when it ends.
func TestServerReapsWhatItAdopts(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	pid, err := strconv.Atoi(must(shell.Call(proctest.Limited(t), co, "env -i setsid sleep 1000 >&- 2>&- & echo $!"))(t))
	if err != nil {
		t.Fatal(err)
	}
	defer kill(pid, syscall.SIGKILL)
	proctest.Eventually(t, "it hides", func() bool { return proctest.Title(pid) == "sleep 1000" })
	die.Call(proctest.Limited(t), co, "exit 0")
	tr.events.Wait(t, "the worker's end", func(e server.Event) bool { return e.Type == server.WorkerEnded })
	if !proctest.Alive(pid) {
		t.Fatal("it was found")
	}
	kill(pid, syscall.SIGKILL)
	proctest.Eventually(t, "it is reaped", func() bool { return proctest.State(pid) == "" })
}
