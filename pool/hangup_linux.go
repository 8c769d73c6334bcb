package pool

import "golang.org/x/sys/unix"

// endOfStream reports whether a socket's other side has closed it.
func endOfStream(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}
