//go:build linux || darwin

package process_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/bullpen-go/bullpen/internal/process"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	for _, code := range []int{0, 1, 3, 255} {
		st := start(t, fmt.Sprint("exit ", code), nil).end(t)
		if st.Code != code || st.Signal != 0 {
			t.Errorf("exit code %d: %+v", code, st)
		}
		if st.MaxRSS < 1<<20 || st.User+st.System <= 0 {
			t.Errorf("what it used: %+v", st)
		}
	}
}

func TestSignal(t *testing.T) {
	t.Parallel()
	c := start(t, "wait", nil)
	c.line(t)
	c.Signal(syscall.SIGTERM)
	if st := c.end(t); st.Signal != syscall.SIGTERM || st.Code != -1 {
		t.Errorf("%+v", st)
	}
	c.Signal(syscall.SIGKILL) // nobody's
}

func TestKill(t *testing.T) {
	t.Parallel()
	c := start(t, "wait", nil)
	c.line(t)
	c.Kill()
	if st := c.end(t); st.Signal != syscall.SIGKILL || st.Code != -1 {
		t.Errorf("%+v", st)
	}
	c.Kill() // after its end it does nothing
}

func TestStoppedChildIsKilled(t *testing.T) {
	t.Parallel()
	c := start(t, "wait", nil)
	c.line(t)
	c.Signal(syscall.SIGSTOP)
	c.Kill()
	if st := c.end(t); st.Signal != syscall.SIGKILL {
		t.Errorf("%+v", st)
	}
}

func TestSpecIsObeyed(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, "show", func(s *process.Spec) {
		s.Title, s.Dir = "a title: x(1)", dir
		s.Env = append(s.Env, "SHOWN=yes")
	})
	want := fmt.Sprintf("%q %s yes %d", []string{"a title: x(1)"}, dir, c.Pid)
	if got := c.line(t); got != want {
		t.Errorf("%s instead of %s", got, want)
	}
	if rest := readAll(t, c.out); rest != "" {
		t.Errorf("and %q", rest)
	}
	c.end(t)
}

func TestProgramThatDoesNotExist(t *testing.T) {
	t.Parallel()
	_, err := process.Start(process.Spec{Path: filepath.Join(t.TempDir(), "none"), Title: "title"})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	_, err = process.Start(process.Spec{Title: "a\x00b", Env: env("exit 0")})
	if !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a title with a zero byte: %v", err)
	}
}

// What a child leaves in its process group ends with it, before it is reaped.
func TestGroupEndsWithItsLeader(t *testing.T) {
	t.Parallel()
	needProc(t)
	c := start(t, "parent group", nil)
	pid, _ := strconv.Atoi(c.line(t))
	if st := c.end(t); st.Code != 0 {
		t.Errorf("%+v", st)
	}
	eventually(t, "the grandchild ends", func() bool { return !alive(pid) })
}

func TestChildInItsOwnSessionIsLeftAlone(t *testing.T) {
	t.Parallel()
	needProc(t)
	c := start(t, "parent setsid", nil)
	pid, _ := strconv.Atoi(c.line(t))
	defer syscall.Kill(pid, syscall.SIGKILL)
	c.end(t)
	if !alive(pid) {
		t.Error("it was killed")
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			p, err := process.Start(process.Spec{Title: "one of many", Env: env(fmt.Sprint("exit ", i))})
			if err != nil {
				t.Error(err)
				return
			}
			if st := p.Wait(); st.Code != i {
				t.Errorf("child %d: %+v", i, st)
			}
		})
	}
	all.Wait()
}

// A parent-death signal follows the thread that spawned. Goroutines that end while they are locked to their thread end
// the thread.
func TestThreadsThatEndKillNoChild(t *testing.T) {
	t.Parallel()
	var children []*child
	for range 4 {
		children = append(children, start(t, "wait", nil))
	}
	for _, c := range children {
		c.line(t)
	}
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			runtime.LockOSThread() // and never unlocked
			os.Getpid()
		})
	}
	all.Wait()
	more := start(t, "wait", nil) // started after it
	more.line(t)
	for _, c := range append(children, more) {
		select {
		case st := <-c.ended:
			t.Errorf("child %d has ended: %+v", c.Pid, st)
		default:
		}
	}
}
