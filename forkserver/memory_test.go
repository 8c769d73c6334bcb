//go:build linux

package forkserver_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
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

// hog takes that much memory, and uses it.
var hog = server.Handle(basic, "hog", func(_ context.Context, bytes int) (wire.None, error) {
	b := make([]byte, bytes)
	for i := 0; i < len(b); i += 4 << 10 {
		b[i] = 1
	}
	runtime.KeepAlive(b)
	return wire.None{}, nil
})

// A worker that wants more than MaxMemory dies, and says why.
func TestMaxMemory(t *testing.T) {
	if slowdown > 1 {
		t.Skip("the race detector itself wants more memory than the limit")
	}
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{MaxMemory: 256 << 20}})
	p := newPool(t, tr, poolConfig)
	if _, err := hog.Call(proctest.Limited(t), p, 16<<20); err != nil {
		t.Errorf("below the limit: %v", err)
	}
	_, err := hog.Call(proctest.Limited(t), p, 512<<20)
	var died *pool.WorkerDiedError
	if !errors.As(err, &died) {
		t.Fatalf("above the limit: %v", err)
	}
	// The runtime says so, unless it is its garbage collector that gets no memory: that crashes (Go 1.26).
	if r := died.Exit.Reason; r != wire.ExitOutOfMemory && (r != wire.ExitCrashed || !strings.Contains(died.Exit.Stderr(), "runtime.gc")) {
		t.Errorf("above the limit: %v\n%s", err, died.Exit.Stderr())
	}
	if _, err := getpid.Call(proctest.Limited(t), p); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// memoryGroup makes a memory cgroup with a limit, and returns the file that a pid is written to.
func memoryGroup(t *testing.T, limit int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a cgroup")
	}
	root, file := "/sys/fs/cgroup", "memory.max"
	if _, err := os.Stat(root + "/memory/memory.limit_in_bytes"); err == nil { // version 1
		root, file = root+"/memory", "memory.limit_in_bytes"
	}
	dir := filepath.Join(root, "bullpen-"+proctest.NewMark())
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("no cgroups here: %v", err)
	}
	t.Cleanup(func() { proctest.Eventually(t, "the cgroup is empty", func() bool { return os.Remove(dir) == nil }) })
	if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(limit)), 0o644); err != nil {
		t.Skipf("no memory cgroups here: %v", err)
	}
	return filepath.Join(dir, "cgroup.procs")
}

// confine moves a server into a memory cgroup. The workers that it starts from then on are in it too.
func confine(t *testing.T, tr *tree, procs string) {
	t.Helper()
	if err := os.WriteFile(procs, []byte(strconv.Itoa(tr.Pid())), 0o644); err != nil {
		t.Skipf("no memory cgroups here: %v", err)
	}
}

// The kernel kills the worker, and the error says why.
func TestOutOfMemory(t *testing.T) {
	procs := memoryGroup(t, 128<<20)
	tr := start(t, basic, forkserver.Config{})
	confine(t, tr, procs)
	p := newPool(t, tr, poolConfig)
	for range 2 {
		_, err := hog.Call(proctest.Limited(t), p, 512<<20)
		var died *pool.WorkerDiedError
		if !errors.As(err, &died) || died.Exit.Signal != 9 || died.Exit.Reason != wire.ExitOutOfMemory {
			t.Errorf("%v", err)
		}
		if _, err := getpid.Call(proctest.Limited(t), p); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	}
}

// What the kernel does to another program's processes explains no death of a worker.
func TestOutOfMemoryOfAnotherProgram(t *testing.T) {
	procs := memoryGroup(t, 128<<20)
	tr, other := start(t, basic, forkserver.Config{}), start(t, basic, forkserver.Config{})
	co := checkout(t, newPool(t, tr, poolConfig))
	if _, err := getpid.Call(proctest.Limited(t), co); err != nil {
		t.Fatal(err)
	}
	confine(t, other, procs)
	var died *pool.WorkerDiedError
	if _, err := hog.Call(proctest.Limited(t), newPool(t, other, poolConfig), 512<<20); !errors.As(err, &died) {
		t.Fatalf("the other program's worker: %v", err)
	}
	kill(co.Pid(), syscall.SIGKILL)
	_, err := getpid.Call(proctest.Limited(t), co)
	if !errors.As(err, &died) || died.Exit.Signal != 9 || died.Exit.Reason != wire.ExitKilled {
		t.Errorf("%v", err)
	}
}
