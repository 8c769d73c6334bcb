package process_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/process"
)

// reapAdopted is a process that adopts. It has a child of its own that has ended and was not waited for yet, and 20 that
// it was left with. It must reap these and not steal the other's exit code.
func reapAdopted(string) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	own, err := process.Start(process.Spec{Title: "own", Env: env("exit 7")})
	if err != nil {
		panic(err)
	}
	isOwn := func(pid int) bool { return pid == own.Pid }
	for len(zombies()) == 0 {
	}
	process.ReapAdopted(isOwn) // the first that is found is our own, which ends the search
	st := own.Wait()
	fmt.Println("own", st.Code)
	for range 20 {
		cmd := exec.Command("sh", "-c", "setsid sh -c 'exit 5' & setsid sh -c 'kill -9 $$' & exit 0")
		if err := cmd.Run(); err != nil {
			panic(err)
		}
	}
	for len(children()) > 0 {
		process.ReapAdopted(isOwn)
	}
	fmt.Println("none left")
}

// children returns the state of each child of this process.
func children() map[int]string {
	all := map[int]string{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		var pid, parent int
		var name, state string
		stat, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
		if n, _ := fmt.Sscanf(string(stat), "%d %s %s %d", &pid, &name, &state, &parent); n == 4 && parent == os.Getpid() {
			all[pid] = state
		}
	}
	return all
}

func zombies() (pids []int) {
	for pid, state := range children() {
		if state == "Z" {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestReapAdopted(t *testing.T) {
	t.Parallel()
	c := start(t, "reaper", nil)
	for _, want := range []string{"own 7", "none left"} {
		if got := c.line(t); got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
	if st := c.end(t); st.Code != 0 {
		t.Errorf("%+v", st)
	}
}

// Files are the child's descriptors from 0 on.
func TestFilesAreTheChildsDescriptors(t *testing.T) {
	t.Parallel()
	for _, fd := range []int{3, 4, 5} {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			t.Skipf("whoever started this test has left it descriptor %d", fd)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := process.Start(process.Spec{Path: "/bin/ls", Title: "ls", Dir: "/proc/self/fd", Files: []*os.File{nil, w, w, r}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	out := readAll(t, r)
	st := p.Wait()
	fds := map[string]bool{}
	for _, fd := range strings.Fields(out) {
		fds[fd] = true
	}
	if !fds["0"] { // a nil file is a closed descriptor, so the directory that ls reads is 0
		t.Errorf("descriptor 0 is not free in %q", out)
	}
	if st.Code != 0 || !fds["1"] || !fds["2"] || !fds["3"] || fds["4"] || fds["5"] {
		t.Errorf("%q, %+v", out, st)
	}
}

// No descriptor stays open for a child that has ended, pidfds among them.
func TestNoDescriptorIsLeft(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	for range 20 {
		p, err := process.Start(process.Spec{Title: "short", Env: env("exit 0")})
		if err != nil {
			t.Fatal(err)
		}
		p.Wait()
	}
	process.Start(process.Spec{Path: "/nonexistent", Title: "none"})
	if after := count(); after != before {
		t.Errorf("%d descriptors instead of %d", after, before)
	}
	if z := zombies(); len(z) > 0 {
		t.Errorf("zombies %v", z)
	}
}

// The parent-death signal reaches a child whose parent is killed, also a stopped one.
func TestChildDiesWithItsParent(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"running", "stopped"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			parent := start(t, "grandparent", nil)
			lines := []string{parent.line(t), parent.line(t)} // of two processes, in any order
			slices.Sort(lines)
			pid, err := strconv.Atoi(lines[0])
			if err != nil || lines[1] != "ready" {
				t.Fatalf("the grandchild is not ready: %q", lines)
			}
			if state == "stopped" {
				syscall.Kill(pid, syscall.SIGSTOP)
			}
			parent.Signal(syscall.SIGKILL)
			parent.end(t)
			eventually(t, "the grandchild ends", func() bool { return !alive(pid) })
		})
	}
}

func init() {
	modes["grandparent"] = func(string) {
		p, err := process.Start(process.Spec{Title: "grandchild", Env: env("wait"), Death: syscall.SIGKILL,
			Files: []*os.File{nil, os.Stdout, os.Stderr}})
		if err != nil {
			panic(err)
		}
		fmt.Println(p.Pid)
		p.Wait()
	}
}
