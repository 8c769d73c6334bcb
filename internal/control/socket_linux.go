package control

import "golang.org/x/sys/unix"

const recvFlags, sendFlags = unix.MSG_CMSG_CLOEXEC, unix.MSG_NOSIGNAL

func socketpair() ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}
