package control

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const recvFlags, sendFlags = 0, 0 // Go has SIGPIPE off for sockets

func socketpair() ([2]int, error) {
	syscall.ForkLock.RLock() // no atomic close-on-exec here
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	return fds, err
}
