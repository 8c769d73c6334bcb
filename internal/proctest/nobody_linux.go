package proctest

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Nobody is the user id of a user who owns nothing.
const Nobody = 65534

// Program returns a directory that everybody may enter, and in it a copy of the test binary that everybody may run. It
// is removed at the test's end.
func Program(t testing.TB) (dir, path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "bullpen-test") // t.TempDir is the tester's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "program")
	// Another process copies. In this one, a child that is just being forked would hold the new file open for writing,
	// and then it can't be run.
	cp := exec.Command("sh", "-c", `chmod 755 . && cat "/proc/$PPID/exe" >program && chmod 755 program`)
	cp.Dir = dir
	if out, err := cp.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir, path
}

// AsOrdinaryUser has a command run as a user who isn't root: as nobody, if the tester is.
func AsOrdinaryUser(c *exec.Cmd) {
	if os.Geteuid() != 0 {
		return
	}
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.Credential = &syscall.Credential{Uid: Nobody, Gid: Nobody}
}
