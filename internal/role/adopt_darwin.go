package role

import (
	"os"

	"golang.org/x/sys/unix"
)

func begin(Role, int) {}

// adopt does what this system allows: there is no parent-death signal, so only the keepalive pipe ties the process
// to its parent.
func adopt(r Role, parent int) {
	if os.Getppid() != parent {
		os.Exit(0)
	}
	dropSignals()
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	for fd := ServerControl; fd <= WorkerScoreboard; fd++ {
		unix.CloseOnExec(fd)
	}
}
