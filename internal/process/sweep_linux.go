package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

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
				if pid, err := strconv.Atoi(f); err == nil && killIf(pid, mark+"\x00", time.Second) {
					killed = true
				}
			}
		}
		if !killed {
			return
		}
	}
}

// KillMarked kills all processes of this user whose environment has a setting that begins with prefix. It doesn't wait for
// their end: that may take a while on a busy machine, and who calls is in a hurry.
func KillMarked(prefix string) {
	for range 3 { // what they started while this looked
		killed := false
		dirs, _ := os.ReadDir("/proc")
		for _, d := range dirs {
			if pid, err := strconv.Atoi(d.Name()); err == nil && pid != os.Getpid() && killIf(pid, prefix, 0) {
				killed = true
			}
		}
		if !killed {
			return
		}
	}
}

// killIf kills a process whose environment has a setting that begins with prefix, and waits for its end for the given
// time. The pidfd makes sure that what was looked at is what is killed.
func killIf(pid int, prefix string, wait time.Duration) bool {
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
	if wait > 0 {
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(wait.Milliseconds()))
	}
	return true
}
