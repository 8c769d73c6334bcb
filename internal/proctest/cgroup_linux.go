package proctest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Freezer is a cgroup whose processes can be frozen.
type Freezer struct {
	dir string
	// file is what is written to, and in which file what it says is seen once it has happened.
	file, freeze, thaw string
	look, frozen       string
}

// NewFreezer makes one. The test is skipped where this user can't have any.
func NewFreezer(t testing.TB, name string) *Freezer {
	t.Helper()
	var errs []error
	for _, f := range []*Freezer{
		{dir: "/sys/fs/cgroup/freezer", file: "freezer.state", freeze: "FROZEN", thaw: "THAWED", look: "freezer.state", frozen: "FROZEN"},
		{dir: filepath.Join("/sys/fs/cgroup", ownGroup()), file: "cgroup.freeze", freeze: "1", thaw: "0", look: "cgroup.events", frozen: "frozen 1"},
	} {
		f.dir = filepath.Join(f.dir, name)
		err := os.Mkdir(f.dir, 0o755)
		if err == nil {
			if _, err = os.Stat(filepath.Join(f.dir, f.file)); err == nil {
				t.Cleanup(func() { f.remove(t) })
				return f
			}
			os.Remove(f.dir)
		}
		errs = append(errs, err)
	}
	t.Skipf("this user has no cgroup freezer here: %v", errors.Join(errs...))
	return nil
}

// ownGroup returns this process's cgroup, of version 2.
func ownGroup() string {
	text, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSpace(path)
		}
	}
	return ""
}

// Freeze takes the process in, and returns when it is frozen.
func (f *Freezer) Freeze(t testing.TB, pid int) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
		t.Skipf("this user can't put a process into a cgroup: %v", err)
	}
	if err := os.WriteFile(filepath.Join(f.dir, f.file), []byte(f.freeze), 0); err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // it is FREEZING first
		text, err := os.ReadFile(filepath.Join(f.dir, f.look))
		if err == nil && bytes.Contains(text, []byte(f.frozen)) {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("process %d does not freeze: %s, %v", pid, text, err)
		}
	}
}

const patience = 20 * time.Second

// Thaw lets what is frozen go on.
func (f *Freezer) Thaw(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, f.file), []byte(f.thaw), 0); err != nil {
		t.Error(err)
	}
}

func (f *Freezer) remove(t testing.TB) {
	f.Thaw(t)
	late := time.Now().Add(patience)
	for os.Remove(f.dir) != nil { // its last process is about to end
		if time.Now().After(late) {
			t.Errorf("the cgroup %s does not become empty", f.dir)
			return
		}
		time.Sleep(time.Millisecond)
	}
}
