package pool_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// waitRaw waits for ever in a system call that Go's scheduler doesn't know of, as C code does.
func waitRaw() {
	for {
		syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}

// isStopped reports whether all threads of a process have stopped.
func isStopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, thread := range threads {
		stat, _ := os.ReadFile(thread)
		if _, state, _ := strings.Cut(string(stat), ") "); !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return true
}
