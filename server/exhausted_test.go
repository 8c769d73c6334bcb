//go:build linux

package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

func init() {
	apps["few files"] = func() { suffer(unix.RLIMIT_NOFILE) }
	apps["few processes"] = func() {
		threads(20) // the Go runtime doesn't survive that it gets none
		suffer(unix.RLIMIT_NPROC)
	}
}

// suffer serves, and has no more of a resource between two lines of its input.
func suffer(resource int) {
	l, err := server.Listen(basic, "unix", os.Getenv("SOCKET"))
	if err != nil {
		panic(err)
	}
	logger := hclog.New(&hclog.LoggerOptions{Output: os.Stdout, DisableTime: true})
	s := &server.Server{Service: basic, Logger: logger}
	go s.Serve(l)
	var before, used unix.Rlimit
	unix.Getrlimit(resource, &before)
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	used = unix.Rlimit{Cur: 1, Max: before.Max}
	unix.Setrlimit(resource, &used)
	fmt.Println("limited")
	in.Scan()
	unix.Setrlimit(resource, &before)
	fmt.Println("unlimited")
	in.Scan()
	s.Close()
}

// threads makes the runtime start so many threads, which it keeps.
func threads(n int) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			unix.Nanosleep(&unix.Timespec{Nsec: 20e6}, nil) // each while the others sleep, too
		})
	}
	all.Wait()
}

// cpuTicks returns how many hundredths of a second of processor time a process has used.
func cpuTicks(t *testing.T, pid int) (ticks int) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	var user, system int
	fmt.Sscan(strings.Join(strings.Fields(rest)[11:13], " "), &user, &system)
	return user + system
}

// exhausted is a program that runs out of something at each line.
type exhausted struct {
	*proctest.App
	socket string
	in     io.Writer
}

func startExhausted(t *testing.T, mode, socket string, change func(*exec.Cmd)) *exhausted {
	t.Helper()
	e := &exhausted{App: proctest.NewApp("/proc/self/exe", mode, "SOCKET="+socket), socket: socket}
	pipe, err := e.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pipe.Close() })
	e.in = pipe
	change(e.Cmd)
	e.Launch(t)
	return e
}

func (e *exhausted) next(t *testing.T, says string) {
	t.Helper()
	io.WriteString(e.in, "\n")
	e.Lines.Says(t, says)
}

// failsSlowly waits until the program has logged so many failures, and as many more, and checks that it does little else.
func (e *exhausted) failsSlowly(t *testing.T, text string, n int) {
	t.Helper()
	failures := func() (n int) {
		for _, line := range e.Lines.List() {
			if strings.Contains(line, text) {
				n++
			}
		}
		return n
	}
	proctest.Eventually(t, "a few failures", func() bool { return failures() >= n })
	ticks, begin := cpuTicks(t, e.Process.Pid), time.Now()
	proctest.Eventually(t, "some more", func() bool { return failures() >= 2*n })
	if used := cpuTicks(t, e.Process.Pid) - ticks; used > 5 {
		t.Errorf("%d0 ms of processor time in %v", used, time.Since(begin))
	}
}

// recovers makes a call that needs a new worker.
func (e *exhausted) recovers(t *testing.T, p *pool.Pool) {
	t.Helper()
	begin := time.Now()
	if _, err := getpid.Call(proctest.Limited(t), p); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("it goes on after %v", took)
	}
}

// A server that runs out of descriptors says so, waits without spinning, and goes on when there are some.
func TestServerRunsOutOfDescriptors(t *testing.T) {
	t.Parallel()
	e := startExhausted(t, "few files", filepath.Join(t.TempDir(), "socket"), func(*exec.Cmd) {})
	p := newPool(t, pool.Unix(e.socket), pool.Config{})
	if _, err := getpid.Call(proctest.Limited(t), p); err != nil {
		t.Fatal(err)
	}
	accepted := dial(t, "unix", e.socket)
	// Connections are accepted in order: a later one that is served shows that this one was.
	if _, err := getpid.Call(proctest.Limited(t), newPool(t, pool.Unix(e.socket), pool.Config{})); err != nil {
		t.Fatal(err)
	}
	e.next(t, "limited")
	accepted.Write([]byte("\n")) // wants a worker
	isClosed(t, accepted)
	waits, err := net.Dial("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer waits.Close()
	e.failsSlowly(t, "accepting a connection failed", 4)
	if got, err := echo.Call(proctest.Limited(t), p, "a worker lives on"); err != nil {
		t.Errorf("%q, %v", got, err)
	}
	e.next(t, "unlimited")
	e.recovers(t, newPool(t, pool.Unix(e.socket), pool.Config{}))
}

// The same with processes, of which root can have any number.
func TestServerRunsOutOfProcesses(t *testing.T) {
	t.Parallel()
	dir, path := proctest.Program(t)
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, proctest.Nobody, proctest.Nobody); err != nil {
			t.Fatal(err)
		}
	}
	e := startExhausted(t, "few processes", filepath.Join(dir, "socket"), func(c *exec.Cmd) {
		c.Path, c.Dir = path, dir
		proctest.AsOrdinaryUser(c)
	})
	p := newPool(t, pool.Unix(e.socket), pool.Config{})
	if _, err := getpid.Call(proctest.Limited(t), p); err != nil {
		t.Fatal(err)
	}
	e.next(t, "limited")
	waits := newPool(t, pool.Unix(e.socket), pool.Config{})
	waiting := getpid.Go(proctest.Limited(t), waits)
	e.failsSlowly(t, syscall.EAGAIN.Error(), 2)
	if got, err := echo.Call(proctest.Limited(t), p, "a worker lives on"); err != nil {
		t.Errorf("%q, %v", got, err)
	}
	e.next(t, "unlimited")
	e.recovers(t, waits)
	if _, err := waiting.Wait(); err != nil {
		t.Errorf("who waits: %v", err)
	}
}
