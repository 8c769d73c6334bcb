//go:build linux

package forkserver_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// told returns the events of a process in a word each.
func told(all []server.Event, pid int) (types []server.EventType) {
	for _, e := range all {
		if e.Pid == pid {
			types = append(types, e.Type)
		}
	}
	return types
}

func TestEventsComeInOrder(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 2}})
	srv := tr.Pid()
	p := newPool(t, tr, poolConfig)
	killed, crashed := checkout(t, p), checkout(t, p)
	wait.Go(proctest.Limited(t), killed)
	tr.logs.said(t, "waiting")
	kill(killed.Pid(), syscall.SIGKILL)
	die.Call(proctest.Limited(t), crashed, "exit 3")
	p.Close()
	tr.Close()
	closed(t, "Done", tr.Done())

	all := tr.events.List()
	if first, last := all[0], all[len(all)-1]; first.Type != server.ServerStarted || last.Type != server.ServerEnded ||
		first.Pid != srv || last.Pid != srv || last.Err != "" {
		t.Errorf("the first is %+v, the last %+v", first, last)
	}
	numbers := map[int]int{}
	at := begin
	for _, e := range all {
		if e.Service != "basic" || e.Pid == 0 || e.Time.Before(begin) || e.Time.After(time.Now()) {
			t.Errorf("%+v", e)
		}
		if e.Time.Before(at.Add(-time.Second)) {
			t.Errorf("%v after %v", e.Time, at)
		}
		at = e.Time
		if e.Type == server.WorkerStarted {
			numbers[e.Number] = e.Pid
		}
		if (e.Exit != nil) != (e.Type == server.WorkerEnded) {
			t.Errorf("%s with exit %+v", e.Type, e.Exit)
		}
	}
	for n := 1; n <= len(numbers); n++ { // each started worker has its end, those of Close too
		pid := numbers[n]
		types := told(all, pid)
		want := []server.EventType{server.WorkerStarted, server.WorkerReady, server.WorkerEnded}
		if !slices.Equal(types, want) && !slices.Equal(types, []server.EventType{server.WorkerStarted, server.WorkerEnded}) {
			t.Errorf("worker %d: %v", n, types)
		}
	}
	for _, e := range all {
		if e.Type != server.WorkerEnded {
			continue
		}
		switch e.Pid {
		case killed.Pid():
			if e.Exit.Signal != 9 || e.Exit.Reason != wire.ExitKilled {
				t.Errorf("the killed worker: %+v", e.Exit)
			}
		case crashed.Pid():
			if e.Exit.Code != 3 || e.Exit.Reason != wire.ExitExited {
				t.Errorf("the worker that exits: %+v", e.Exit)
			}
		default:
			if e.Exit.Reason != wire.ExitShutdown && e.Exit.Reason != wire.ExitRetired {
				t.Errorf("worker %d: %+v", e.Number, e.Exit)
			}
		}
	}
}

// Close reports the end of each worker before the server's.
func TestCloseReportsEveryEnd(t *testing.T) {
	t.Parallel()
	const n = 6
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: n}})
	tr.ready(t, n)
	tr.Close()
	closed(t, "Done", tr.Done())
	ends := 0
	for _, e := range tr.events.List() {
		if e.Type == server.WorkerEnded {
			ends++
		}
	}
	if ends != n {
		t.Errorf("the end of %d of %d workers was reported", ends, n)
	}
}

func TestEventsComeOneAtATime(t *testing.T) {
	t.Parallel()
	var inside atomic.Int32
	var srv *forkserver.Process
	srv, err := forkserver.Start(proctest.Limited(t), basic, forkserver.Config{Limits: server.Limits{Standby: 4},
		OnEvent: func(e server.Event) {
			if inside.Add(1) != 1 {
				t.Error("two at once")
			}
			time.Sleep(time.Millisecond) // to be caught by another one; nobody tells that none comes
			inside.Add(-1)
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	p := newPool(t, srv, poolConfig)
	for range 8 {
		checkout(t, p)
	}
	p.Close()
}

func TestRetiredWorkersEvent(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	pid := must(getpid.Call(proctest.Limited(t), p))(t)
	p.Close()
	e := tr.events.Wait(t, "its end", func(e server.Event) bool { return e.Type == server.WorkerEnded })
	if e.Exit.MaxRSS < 1<<20 || e.Exit.UserTime+e.Exit.SystemTime <= 0 {
		t.Errorf("what it used: %d bytes, %v, %v", e.Exit.MaxRSS, e.Exit.UserTime, e.Exit.SystemTime)
	}
	if e.Pid != pid || e.Exit.Reason != wire.ExitRetired || e.Exit.Code != 0 || e.Number != 1 {
		t.Errorf("%+v: %+v", e, e.Exit)
	}
	if got := fmt.Sprint(told(tr.events.List(), pid)); got != "[worker started worker ready worker ended]" {
		t.Error(got)
	}
}
