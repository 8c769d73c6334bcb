package role

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Outlive does nothing: there is no parent-death signal.
func Outlive() {}

// EndWithin does nothing: no timer ends a stopped process here.
func EndWithin(time.Duration) {}

// Leash does nothing: there is no parent-death signal.
func Leash(busy bool) {}

// adopt does what this system allows: there is no parent-death signal, so only the keepalive pipe ties the process
// to its parent.
func adopt(r Role, parent int) {
	if os.Getppid() != parent {
		os.Exit(0)
	}
	if r == Server {
		DropSignals()
	} else {
		hush()
	}
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	for fd := ServerControl; fd <= WorkerScoreboard; fd++ {
		unix.CloseOnExec(fd)
	}
}
