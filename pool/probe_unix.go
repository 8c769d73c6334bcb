//go:build unix

package pool

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// probe looks, without waiting, whether an idle worker's connection has ended or holds something that nobody asked for.
func (w *worker) probe() (dead bool) {
	if h, ok := w.nc.(interface{ hungUp() bool }); ok && h.hungUp() { // a TLS connection can't be looked into
		return true
	}
	sc, ok := w.nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return !errors.Is(err, errors.ErrUnsupported)
	}
	var n int
	var rerr error
	err = raw.Control(func(fd uintptr) {
		n, _, rerr = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return err != nil || rerr != unix.EAGAIN || n > 0
}
