package bare

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	recvFlags = unix.MSG_CMSG_CLOEXEC
)

// Self returns this program, for children.
func Self() string { return "/proc/self/exe" }

// Socketpair makes a connected pair of stream sockets that no child inherits by accident.
func Socketpair() (ours, theirs int, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("socketpair: %w", err)
	}
	return fds[0], fds[1], nil
}
