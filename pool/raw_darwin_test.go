package pool_test

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// waitRaw waits for ever, as C code does.
func waitRaw() {
	for {
		syscall.Select(0, nil, nil, nil, nil)
	}
}

// isStopped reports whether a process has stopped.
func isStopped(pid int) bool {
	state, _ := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	return strings.HasPrefix(string(state), "T")
}
