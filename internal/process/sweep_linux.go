package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// KillAdopted kills the children that came to this process as their subreaper, if their environment has the setting
// mark ("NAME=VALUE"): what a worker left behind outside of its process group. What that had started itself comes here
// then, and is killed too.
func KillAdopted(mark string) {
	for range 100 { // generations; one that hides better than this is let go
		killed := false
		lists, _ := filepath.Glob("/proc/self/task/*/children")
		for _, l := range lists {
			text, _ := os.ReadFile(l)
			for _, f := range strings.Fields(string(text)) {
				if pid, err := strconv.Atoi(f); err == nil && killIf(pid, mark+"\x00") {
					killed = true
				}
			}
		}
		if !killed {
			return
		}
	}
}

// KillMarked kills all processes of this user whose environment has a setting that begins with prefix.
func KillMarked(prefix string) {
	dirs, _ := os.ReadDir("/proc")
	for _, d := range dirs {
		if pid, err := strconv.Atoi(d.Name()); err == nil && pid != os.Getpid() {
			killIf(pid, prefix)
		}
	}
}

// killIf kills a process whose environment has a setting that begins with prefix, and waits until it is dead. The
// pidfd makes sure that what was looked at is what is killed.
func killIf(pid int, prefix string) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || !bytes.HasPrefix(env, []byte(prefix)) && !bytes.Contains(env, []byte("\x00"+prefix)) {
		return false
	}
	if unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) != nil {
		return false
	}
	unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 1000)
	return true
}

// oomKills returns how many processes the kernel has killed for memory: in this process's cgroup where that is known,
// and in the whole system otherwise.
func oomKills() int64 {
	self, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(self)) {
		if group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			if n, ok := counter(filepath.Join("/sys/fs/cgroup", group, "memory.events"), "oom_kill"); ok {
				return n
			}
		}
	}
	n, _ := counter("/proc/vmstat", "oom_kill")
	return n
}

// counter reads "NAME VALUE" from a file of such lines.
func counter(path, name string) (int64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
