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
		var n int
		var err unix.Errno
		if v.with == nil {
			n, err = send(fd, v.out)
		} else if n, err = sendWith(fd, v.out, v.with); err == 0 {
			v.with = nil
		}
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

func sendWith(fd int, p, rights []byte) (int, unix.Errno) {
	return result(unix.SendmsgN(fd, p, rights, nil, unix.MSG_DONTWAIT))
}

// ring sends the byte that wakes a worker. If the socket has no room, it has been woken.
func (v *visit) ring() error {
	v.err = nil
	if err := v.raw.Control(v.bell); err != nil {
		return err
	}
	return v.err
}

// sendBell is ring, bound once and for all.
func (v *visit) sendBell(fd uintptr) {
	for {
		_, err := send(int(fd), theBell)
		switch err {
		case unix.EINTR:
			continue
		case 0, unix.EAGAIN:
		default:
			v.err = os.NewSyscallError("sendto", err)
		}
		return
	}
}

var theBell = []byte{0}

func result(n int, err error) (int, unix.Errno) {
	if e, ok := err.(unix.Errno); ok {
		return 0, e
	}
	return n, 0
}
