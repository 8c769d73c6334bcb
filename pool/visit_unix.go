//go:build unix

package pool

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const canVisit = true

// take is called until it returns true: first at once, and then whenever something may have arrived.
func (v *visit) take(fd uintptr) bool {
	if v.out != nil {
		return v.send(int(fd))
	}
	for {
		n, err := receive(int(fd), v.in)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false
		case err != 0:
			v.err = os.NewSyscallError("recvfrom", err)
		case n == 0:
			v.err = io.EOF
		}
		v.got = n
		return true
	}
}

// send sends out. There is no answer to it yet.
func (v *visit) send(fd int) bool {
	for {
		n, err := send(fd, v.out)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			v.err = errMoreToSend
		case err != 0:
			v.err = os.NewSyscallError("sendto", err)
		case n < len(v.out):
			v.sent, v.out = n, v.out[n:]
			v.err = errMoreToSend
		default:
			v.sent, v.out = n, nil
		}
		return v.err != nil
	}
}
