package process_test

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/process"
)

// sleeper starts a process in a session of its own with the settings in its environment.
func sleeper(t *testing.T, settings ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.Env = append(os.Environ(), settings...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd
}

func TestKillMarked(t *testing.T) {
	t.Parallel()
	prefix := fmt.Sprintf("BULLPEN_SWEEP=%d.", os.Getpid())
	first, second := sleeper(t, prefix+"1"), sleeper(t, prefix+"22", "LAST=one")
	other, longer := sleeper(t, fmt.Sprintf("BULLPEN_SWEEP=%d1.1", os.Getpid())), sleeper(t, "MY"+prefix+"1")
	process.KillMarked(prefix)
	for _, c := range []*exec.Cmd{first, second} {
		eventually(t, "it ends", func() bool { return !alive(c.Process.Pid) })
	}
	for _, c := range []*exec.Cmd{other, longer} {
		if !alive(c.Process.Pid) {
			t.Error("a process without the mark was killed")
		}
	}
}

func init() {
	modes["sweeper"] = func(string) { // adopts, and sweeps
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			panic(err)
		}
		leave := exec.Command("sh", "-c", "setsid sleep 1000 & setsid sh -c 'setsid sleep 1000 & sleep 1000' & "+
			"BULLPEN_SWEEP=9.12 setsid sleep 1000 &")
		leave.Env = append(os.Environ(), "BULLPEN_SWEEP=9.1")
		if err := leave.Run(); err != nil {
			panic(err)
		}
		for sleeping := 0; sleeping < 2 || len(children()) < 3; { // the third is a shell
			sleeping = 0
			for pid := range children() {
				if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(comm) == "sleep\n" {
					sleeping++
				}
			}
		}
		process.KillAdopted("BULLPEN_SWEEP=9.1")
		alive := 0
		for pid := range children() {
			process.ReapAdopted(func(int) bool { return false })
			if syscall.Kill(pid, 0) == nil {
				alive++
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		fmt.Println("left", alive)
	}
}

// What hides from its process group, and what that has started, is killed; another worker's is not.
func TestKillAdopted(t *testing.T) {
	t.Parallel()
	c := start(t, "sweeper", nil)
	if got := c.line(t); got != "left 1" {
		t.Errorf("%q", got)
	}
	c.end(t)
}
