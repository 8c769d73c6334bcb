package proctest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Freezer is a cgroup whose processes can be frozen.
type Freezer struct {
	dir string
	// file is what is written to, and in which file what it says is seen once it has happened.
	file, freeze, thaw string
	look, frozen       string
}

// cgroupEvents is the file of version 2 whose changes are told to whoever has read it.
const cgroupEvents = "cgroup.events"

// NewFreezer makes one. The test is skipped where this user can't have any.
func NewFreezer(t testing.TB, name string) *Freezer {
	t.Helper()
	var errs []error
	for _, f := range []*Freezer{
		{dir: "/sys/fs/cgroup/freezer", file: "freezer.state", freeze: "FROZEN", thaw: "THAWED", look: "freezer.state", frozen: "FROZEN"},
		{dir: filepath.Join("/sys/fs/cgroup", ownGroup()), file: "cgroup.freeze", freeze: "1", thaw: "0", look: cgroupEvents, frozen: "frozen 1"},
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
	if err := f.await(f.look, func(text []byte) bool { return bytes.Contains(text, []byte(f.frozen)) }); err != nil {
		t.Fatalf("process %d does not freeze: %v", pid, err)
	}
}

// await waits until what the file says is as wanted.
func (f *Freezer) await(name string, ok func(text []byte) bool) error {
	file, err := os.Open(filepath.Join(f.dir, name))
	if err != nil {
		return err
	}
	defer file.Close()
	text := make([]byte, 4<<10)
	for late := time.Now().Add(Patience); ; {
		n, err := file.ReadAt(text, 0)
		switch {
		case err != nil && err != io.EOF:
			return err
		case ok(text[:n]):
			return nil
		case time.Now().After(late):
			return fmt.Errorf("%s says %q", name, text[:n])
		}
		if name == cgroupEvents {
			unix.Poll([]unix.PollFd{{Fd: int32(file.Fd()), Events: unix.POLLPRI}}, int(time.Until(late).Milliseconds())+1)
		} else { // nobody tells the changes of version 1
			time.Sleep(time.Millisecond)
		}
	}
}

// Thaw lets what is frozen go on.
func (f *Freezer) Thaw(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, f.file), []byte(f.thaw), 0); err != nil {
		t.Error(err)
	}
}

func (f *Freezer) remove(t testing.TB) {
	f.Thaw(t)
	file := "cgroup.procs"
	if f.look == cgroupEvents {
		file = cgroupEvents
	}
	err := f.await(file, func([]byte) bool { return os.Remove(f.dir) == nil }) // its last process may be about to end
	if err != nil {
		t.Errorf("the cgroup %s does not become empty: %v", f.dir, err)
	}
}
