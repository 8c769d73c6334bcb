package bullpen_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

// These tests show the guarantees that concern the whole tree of processes and no single package.

var tree = server.NewService("tree", server.Hooks{})

var double = server.Handle(tree, "double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })

// startTree starts a server and a pool of two workers that are ready.
func startTree(t *testing.T) (*forkserver.Process, *pool.Pool) {
	t.Helper()
	srv, err := forkserver.Start(t.Context(), tree, forkserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	workers, err := pool.New(srv, pool.Config{MinWorkers: 2, MaxWorkers: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { workers.Close() })
	until(t, "both workers are ready", func() bool { return workers.Stat().Idle == 2 })
	return srv, workers
}

// until waits until what is said holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come about that %s", what)
		}
	}
}

// While the server is stopped, calls, checkouts and releases go on: they are between app and workers.
func TestServerIsNotOnACallsPath(t *testing.T) {
	srv, workers := startTree(t)
	if err := syscall.Kill(srv.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(srv.Pid(), syscall.SIGCONT) }) // before the server is closed
	until(t, "the server is stopped", func() bool { return state(t, srv.Pid()) == "T" })
	for i := range 100 {
		if got, err := double.Call(t.Context(), workers, i); got != 2*i || err != nil {
			t.Fatalf("call %d: %d, %v", i, got, err)
		}
	}
}

// A tree that has nothing to do does nothing: none of its processes is woken.
func TestIdleTreeSleeps(t *testing.T) {
	srv, workers := startTree(t)
	pids := []int{srv.Pid()}
	var held []*pool.Checkout
	for range 2 {
		co, err := workers.Checkout(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := double.Call(t.Context(), co, 1); err != nil {
			t.Fatal(err)
		}
		held = append(held, co)
		pids = append(pids, co.Pid())
	}
	for _, co := range held {
		co.Release()
	}
	const quiet = time.Second
	var before, after string
	until(t, fmt.Sprintf("server and workers sleep for %v", quiet), func() bool {
		before = wakeUps(t, pids)
		time.Sleep(quiet)
		after = wakeUps(t, pids)
		return before == after
	})
}

// wakeUps returns how often the threads of the processes have been woken.
func wakeUps(t *testing.T, pids []int) string {
	t.Helper()
	var all []string
	for _, pid := range pids {
		sum := 0
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil || len(files) == 0 {
			t.Fatalf("process %d: %v, %v", pid, files, err)
		}
		for _, f := range files {
			status, err := os.ReadFile(f)
			if err != nil { // the thread has ended
				continue
			}
			for _, m := range regexp.MustCompile(`voluntary_ctxt_switches:\s+(\d+)`).FindAllSubmatch(status, -1) {
				n, err := strconv.Atoi(string(m[1]))
				if err != nil {
					t.Fatal(err)
				}
				sum += n
			}
		}
		all = append(all, strconv.Itoa(sum))
	}
	return strings.Join(all, " ")
}

// state returns the letter that ps shows for a process.
func state(t *testing.T, pid int) string {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return after[:1]
}
