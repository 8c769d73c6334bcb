package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of times in proc(5): USER_HZ is 100 wherever Go runs.
const tick = 10 * time.Millisecond

// UsageOf returns the processor time that a child of parent has used, in steps of 10 ms, and its resident memory in bytes.
// It is not ok if there is no such child.
func UsageOf(pid, parent int) (cpu time.Duration, rss int64, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, false
	}
	i := bytes.LastIndexByte(stat, ')') // the name before it may have anything in it
	f := bytes.Fields(stat[i+1:])       // from the third field of proc(5) on
	if i < 0 || len(f) < 22 || string(f[1]) != strconv.Itoa(parent) {
		return 0, 0, false
	}
	user, err1 := strconv.ParseInt(string(f[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(f[12]), 10, 64)
	pages, err3 := strconv.ParseInt(string(f[21]), 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return 0, 0, false
	}
	return time.Duration(user+system) * tick, pages * int64(os.Getpagesize()), true
}

// KillChild kills a child of another process, parent, and of it only: alive is asked, once the pid is pinned, whether it
// still is the child that is meant.
func KillChild(pid, parent int, alive func() bool) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if _, _, ok := UsageOf(pid, parent); !ok || !alive() {
		return fmt.Errorf("process %d: %w", pid, unix.ESRCH)
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	return nil
}
