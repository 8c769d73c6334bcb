//go:build linux

package forkserver_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
)

func init() {
	apps["copied"] = func() { // all its descriptors are held open by a process that it starts
		held := hold(appTree(forkserver.Config{}, basic))
		children.Call(context.Background(), held[0], 2, true) // which only the server can find
		for fd := range 64 {
			unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0) // not closed at exec
		}
		other := exec.Command("sleep", "1000")
		other.Env = []string{} // it is none of the tree's
		other.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := other.Start(); err != nil {
			panic(err)
		}
		fmt.Println("other", other.Process.Pid)
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
			a := proctest.StartApp(t, "copied")
			killHeldOpen(t, a, stopped)
		})
	}
}

// killHeldOpen kills such an app.
func killHeldOpen(t *testing.T, a *proctest.App, stopped bool) {
	t.Helper()
	other, srv := a.Pid(t, "other "), a.Pid(t, "server ")
	t.Cleanup(func() { kill(other, syscall.SIGKILL) }) // or the app's output has no end
	a.Says(t, "ready")
	if files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", other)); len(files) < 8 {
		t.Fatalf("it holds only %v", files)
	}
	if stopped {
		stop(t, srv)
	}
	a.Process.Kill()
	proctest.Gone(t, a.Mark, survival)
}
