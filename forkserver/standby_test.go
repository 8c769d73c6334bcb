//go:build linux

package forkserver_test

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// ready waits for the n-th worker that gets ready, and returns its pid.
func (tr *tree) ready(t *testing.T, n int) int {
	t.Helper()
	var pid int
	tr.events.Wait(t, "a ready worker", func(server.Event) bool {
		i := 0
		for _, e := range tr.events.List() {
			if e.Type == server.WorkerReady {
				if i++; i == n {
					pid = e.Pid
					return true
				}
			}
		}
		return false
	})
	return pid
}

func TestStandbysAreSetUpInAdvance(t *testing.T) {
	t.Parallel()
	tr := start(t, hooked, forkserver.Config{SetupData: setupData{Mode: "slow"}, Limits: server.Limits{Standby: 2}})
	first, second := tr.ready(t, 1), tr.ready(t, 2)
	p := newPool(t, tr, poolConfig)
	for i, want := range []int{first, second} { // the oldest is taken first
		co := checkout(t, p)
		if got := must(hookedPid.Call(proctest.Limited(t), co))(t); got != want || co.Pid() != want {
			t.Errorf("checkout %d: worker %d instead of %d", i, got, want)
		}
		tr.ready(t, 3+i) // each is replaced
	}
}

func TestStandbyThatDiesWhileItWaitsIsReplaced(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 2}})
	first, second := tr.ready(t, 1), tr.ready(t, 2)
	kill(first, syscall.SIGKILL)
	third := tr.ready(t, 3)
	p := newPool(t, tr, poolConfig)
	one, two := checkout(t, p), checkout(t, p)
	if one.Pid() != second || two.Pid() != third {
		t.Errorf("workers %d and %d instead of %d and %d", one.Pid(), two.Pid(), second, third)
	}
}

// A standby that dies with a connection that it has not acknowledged costs nobody anything.
func TestStandbyThatDiesAsItGetsItsConnection(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 2}})
	p := newPool(t, tr, pool.Config{MinWorkers: -1, MaxCheckouts: 1}) // each call takes a standby
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	used := map[int]bool{}
	for i := range rounds {
		var waiting []int // the oldest first
		tr.events.Wait(t, "two standbys", func(server.Event) bool {
			waiting = tr.standbys(used)
			return len(waiting) == 2
		})
		call := getpid.Go(proctest.Limited(t), p)
		kill(waiting[0], syscall.SIGKILL)
		pid, err := call.Wait()
		var died *pool.WorkerDiedError
		if errors.As(err, &died) && died.Pid == waiting[0] { // it was killed later, when it had acknowledged the connection
			continue
		}
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		used[pid] = true
	}
}

// standbys returns the pids of the workers that are ready, have not ended, and were not used.
func (tr *tree) standbys(used map[int]bool) (pids []int) {
	for _, e := range tr.events.List() {
		switch {
		case e.Type == server.WorkerReady && !used[e.Pid]:
			pids = append(pids, e.Pid)
		case e.Type == server.WorkerEnded:
			pids = slices.DeleteFunc(pids, func(pid int) bool { return pid == e.Pid })
		}
	}
	return pids
}

// The same with one that is stopped first, so that it surely dies before it reads anything.
func TestStandbyThatIsStoppedAndDiesWithItsConnection(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 2}})
	p := newPool(t, tr, poolConfig)
	first, second := tr.ready(t, 1), tr.ready(t, 2)
	stop(t, first)
	call := getpid.Go(proctest.Limited(t), p)
	// The next standby is started when the connection has been handed to the first.
	tr.events.Wait(t, "the third worker", func(e server.Event) bool { return e.Type == server.WorkerStarted && e.Number == 3 })
	kill(first, syscall.SIGKILL)
	if pid, err := call.Wait(); err != nil || pid != second {
		t.Errorf("worker %d instead of %d, %v", pid, second, err)
	}
}

// A client that loses its patience with a stopped standby has it killed, and its connection goes to nobody else.
func TestStoppedStandbyIsKilledByItsClient(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 1}})
	first := tr.ready(t, 1)
	stop(t, first)
	nc, err := tr.Dial(proctest.Limited(t))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	tr.ready(t, 2) // it has been handed over
	life := nc.(wire.Lifeline)
	life.Kill("no patience")
	e := life.Exit(proctest.Limited(t)) // while the connection is still open
	if e == nil || e.Pid != first || e.Reason != wire.ExitCanceled || e.Detail != "no patience" {
		t.Errorf("%+v", e)
	}
}
