//go:build linux || darwin

package pool_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// foreign is a server in another language.
type foreign struct {
	path       string
	setupFails string // while this file exists
}

// startForeign starts one, in a process group that ends with the test. Its path becomes its last argument. It says a line
// when it listens. The test is skipped where there is no such interpreter.
func startForeign(t *testing.T, interpreter string, args ...string) foreign {
	t.Helper()
	if _, err := exec.LookPath(interpreter); err != nil {
		t.Skipf("%s is not installed: %v", interpreter, err)
	}
	dir := shortDir(t)
	s := foreign{path: filepath.Join(dir, "s"), setupFails: filepath.Join(dir, "fails")}
	c := exec.Command(interpreter, append(args, s.path)...)
	c.Env = append(os.Environ(), "SETUP_FAILS="+s.setupFails)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		c.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%v says %q, %v", c.Args, line, err)
	}
	return s
}
