//go:build linux

package server_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// stop stops a worker, and waits until it is.
func stop(t *testing.T, pid int) {
	t.Helper()
	syscall.Kill(pid, syscall.SIGSTOP)
	proctest.Eventually(t, "it is stopped", func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(stat), ") ")
		return strings.HasPrefix(rest, "T")
	})
}

// idle checks n workers out, and releases them.
func idle(t *testing.T, p *pool.Pool, n int) (pids []int) {
	t.Helper()
	for range n {
		co, err := p.Checkout(proctest.Limited(t))
		if err != nil {
			t.Fatal(err)
		}
		defer co.Release()
		pids = append(pids, co.Pid())
	}
	return pids
}

// diedOfStop waits for the end of a worker that was stopped.
func (s *local) diedOfStop(t *testing.T, pid int) {
	t.Helper()
	e := s.events.Wait(t, "its end", func(e server.Event) bool { return e.Type == server.WorkerEnded && e.Pid == pid }).Exit
	if e.Reason != wire.ExitHung || e.Signal != 9 || !strings.Contains(e.Detail, "stopped") {
		t.Errorf("it %v", e)
	}
}

// A worker that was stopped while it was idle doesn't see that its client goes, and nobody tells its server. It ends all
// the same.
func TestStoppedWorkerWhoseClientHasGone(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{HungTimeout: 300 * time.Millisecond})
	p := newPool(t, pool.Unix(s.serve(t, "unix")), pool.Config{})
	pid := idle(t, p, 1)[0]
	stop(t, pid)
	p.Close()
	s.diedOfStop(t, pid)
}

// One that is continued in time lives on.
func TestStoppedWorkerThatIsContinued(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{HungTimeout: 2 * time.Second})
	p := newPool(t, pool.Unix(s.serve(t, "unix")), pool.Config{MaxWorkers: 2})
	pids := idle(t, p, 2)
	stop(t, pids[0])
	syscall.Kill(pids[0], syscall.SIGCONT)
	stop(t, pids[1]) // and is killed later than the first one would be
	s.diedOfStop(t, pids[1])
	if err := syscall.Kill(pids[0], 0); err != nil {
		t.Fatalf("the first: %v", err)
	}
	if pid, err := getpid.Call(proctest.Limited(t), p); err != nil || pid != pids[0] {
		t.Errorf("the first does not serve: %d, %v", pid, err)
	}
}

// Without HungTimeout a stopped worker is left alone.
func TestStoppedWorkerWithoutALimit(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{HungTimeout: -1})
	address := s.serve(t, "unix")
	p := newPool(t, pool.Unix(address), pool.Config{})
	pid := idle(t, p, 1)[0]
	stop(t, pid)
	for range 3 { // each end of a worker has the server look
		other := newPool(t, pool.Unix(address), pool.Config{})
		idle(t, other, 1)
		other.Close()
	}
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		t.Error("it was ended")
	}
	syscall.Kill(pid, syscall.SIGCONT)
}
