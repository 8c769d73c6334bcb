package proctest

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Proc is a process of a tree.
type Proc struct {
	Pid   int
	State string
	Title string
}

// InTree lists the processes that have the mark in their environment, but this one. A zombie has none any more.
func InTree(mark string) (found []Proc) {
	want := []byte(EnvMark + "=" + mark + "\x00")
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); bytes.Contains(env, want) {
			found = append(found, Proc{pid, State(pid), Title(pid)})
		}
	}
	return found
}

// State returns a process's state as in proc(5), or "".
func State(pid int) string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := strings.Cut(string(stat), ") ")
	if !ok {
		return ""
	}
	return rest[:1]
}

// Alive reports whether a process runs, or is stopped. A zombie does not.
func Alive(pid int) bool { return !strings.Contains("ZX", State(pid)) }

// Title returns a process's command line.
func Title(pid int) string {
	cmd, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimRight(strings.ReplaceAll(string(cmd), "\x00", " "), " ")
}

// Gone fails the test unless the tree has no process any more after d. What a busy machine keeps from this process
// doesn't count: it keeps as much from others.
func Gone(t testing.TB, mark string, d time.Duration) {
	t.Helper()
	begin := time.Now()
	left := empty(d, func() []Proc { return InTree(mark) })
	if len(left) == 0 {
		return
	}
	t.Errorf("left after %v: %+v", time.Since(begin), left)
	for _, p := range left {
		syscall.Kill(p.Pid, syscall.SIGKILL)
	}
}

// Ends fails the test unless the process has ended after d, as Gone counts it.
func Ends(t testing.TB, pid int, d time.Duration) {
	t.Helper()
	left := empty(d, func() []Proc {
		if Alive(pid) {
			return []Proc{{Pid: pid}}
		}
		return nil
	})
	if len(left) > 0 {
		t.Errorf("process %d has not ended within %v", pid, d)
	}
}

// empty waits for the ends of all that look finds, until it finds nothing, and returns what is left after d.
func empty(d time.Duration, look func() []Proc) (left []Proc) {
	for waited := time.Duration(0); ; {
		if left = look(); len(left) == 0 || waited > d*Slowdown {
			return left
		}
		waited += awaitEnd(left)
	}
}

// awaitEnd waits until one of the processes ends, for some milliseconds at most: others may have come since. It returns
// how long it has waited; if that took longer than it should, this process was kept from running.
func awaitEnd(procs []Proc) time.Duration {
	const pause = 10 * time.Millisecond
	var fds []unix.PollFd
	for _, p := range procs {
		if fd, err := unix.PidfdOpen(p.Pid, 0); err == nil {
			defer unix.Close(fd)
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
	}
	begin := time.Now()
	unix.Poll(fds, int(pause.Milliseconds())) // an interrupted one only means to look again
	return min(time.Since(begin), pause)
}
