//go:build linux

package forkserver_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/proctest"
)

// A program whose file has capabilities loses the parent-death signal at exec, which its own init sets again.
func TestNothingOutlivesAnAppWithCapabilities(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file capabilities")
	}
	_, path := proctest.Program(t)
	const bindService = 1 << unix.CAP_NET_BIND_SERVICE
	// Version 2: its number and the effective bit, then permitted and inheritable capabilities, little endian (capability.h).
	caps := []byte{1, 0, 0, 2, bindService & 0xff, bindService >> 8 & 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := unix.Setxattr(path, "security.capability", caps, 0); err != nil {
		t.Skipf("this file system has no capabilities: %v", err)
	}
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprint("server stopped: ", stopped), func(t *testing.T) {
			t.Parallel()
			a := proctest.NewApp(path, "copied") // or the pipe ends them, too
			a.Dir = "/"
			proctest.AsOrdinaryUser(a.Cmd)
			a.Launch(t)
			a.Says(t, "ready")
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.Pid(t, "server ")))
			if !strings.Contains(string(status), fmt.Sprintf("CapEff:\t%016x\n", bindService)) {
				t.Fatalf("it has no capabilities: %s", status)
			}
			killHeldOpen(t, a, stopped)
		})
	}
}
