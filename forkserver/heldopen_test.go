//go:build linux

package forkserver_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/forkserver"
)

func init() {
	apps["copied"] = func() { // all its descriptors are held open by a process that it starts
		copied := func() {
			entries, err := os.ReadDir("/proc/self/fd")
			if err != nil {
				panic(err)
			}
			for _, e := range entries {
				fd, _ := strconv.Atoi(e.Name())
				unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
			}
			other := exec.Command("sleep", "1000")
			other.Env = []string{} // it is none of the tree's
			other.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := other.Start(); err != nil {
				panic(err)
			}
			fmt.Println("other", other.Process.Pid)
		}
		for _, co := range hold(appTree(forkserver.Config{}, basic)) {
			co.Release()
		}
		copied()
		fmt.Println("ready")
		select {}
	}
}

// A library may fork without exec, and hold all that the app has open: the ends of pipes and sockets whose closing is
// to tell the server that the app has ended.
func TestNothingOutlivesAnAppWhoseDescriptorsLiveOn(t *testing.T) {
	t.Parallel()
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprint("server stopped: ", stopped), func(t *testing.T) {
			t.Parallel()
			a := startApp(t, "copied")
			a.says(t, "ready")
			other, srv := a.pid(t, "other "), a.pid(t, "server ")
			t.Cleanup(func() { kill(other, syscall.SIGKILL) }) // or the app's output has no end
			if pipes, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", other)); len(pipes) < 5 {
				t.Fatalf("it holds only %v", pipes)
			}
			if stopped {
				kill(srv, syscall.SIGSTOP)
				eventually(t, "it stops", func() bool { return state(srv) == "T" })
			}
			a.Process.Kill()
			gone(t, a.mark, survival)
		})
	}
}
