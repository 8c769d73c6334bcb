package server

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/lane"
	"github.com/bullpen-go/bullpen/internal/scoreboard"
)

// laned is a worker's connection whose bytes go through shared memory. The socket is its bell, and the sign of its client's
// life: who waits here waits for the socket, in the same two ways, is interrupted there, and learns there that the client
// has gone.
type laned struct {
	*socket
	end *lane.End
}

// Read implements transport.
func (l *laned) Read(p []byte) (int, error) {
	l.makeWay()
	if l.interrupted.Load() {
		return 0, errInterrupted
	}
	n, err := l.end.Read(p)
	l.note(scoreboard.Now())
	return n, err
}

// Write implements transport.
func (l *laned) Write(p []byte) (int, error) { return l.end.Write(p) }

// bell is the socket as lane.Bell.
type bell struct {
	*socket
	rung [64]byte
}

// Ring implements lane.Bell.
func (b *bell) Ring() error {
	one := [1]byte{}
	for {
		_, _, err := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(b.fd), uintptr(unsafe.Pointer(&one)), 1,
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch err {
		case 0, unix.EAGAIN:
			return nil
		case unix.EINTR:
		default:
			return os.NewSyscallError("sendto", err)
		}
	}
}

// Wait implements lane.Bell.
func (b *bell) Wait() error {
	_, err := b.await(b.rung[:])
	return err
}

// rights is the descriptor that has come with a message.
type rights struct {
	fd      int // -1: none
	msg     unix.Msghdr
	iov     unix.Iovec
	control [64]byte // room for more than one, or the kernel would close the others without a word
}

// Accept implements laner.
func (s *socket) Accept() { s.rights = &rights{fd: -1} }

// Lane implements laner.
func (s *socket) Lane() (transport, error) {
	r := s.rights
	s.rights = nil
	if r == nil || r.fd < 0 {
		return nil, errNoLane
	}
	defer unix.Close(r.fd)
	m, err := lane.Open(r.fd)
	if err != nil {
		return nil, err
	}
	return &laned{s, lane.NewWorker(m, &bell{socket: s})}, nil
}

var errNoLane = errors.New("no memory has come with the message")

// recv is recvmsg(2) behind the scheduler's back.
func (r *rights) recv(fd int, p []byte, flags int) (int, unix.Errno) {
	r.iov.Base = unsafe.SliceData(p)
	r.iov.SetLen(len(p))
	r.msg.Iov, r.msg.Iovlen = &r.iov, 1
	r.msg.Control = &r.control[0]
	r.msg.SetControllen(len(r.control))
	n, _, err := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.msg)), uintptr(flags|unix.MSG_CMSG_CLOEXEC))
	if err != 0 {
		return 0, err
	}
	if r.msg.Controllen > 0 {
		r.take(r.control[:r.msg.Controllen])
	}
	return int(n), 0
}

// take keeps the last descriptor that has come.
func (r *rights) take(control []byte) {
	msgs, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return
	}
	for _, m := range msgs {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if r.fd >= 0 {
				unix.Close(r.fd)
			}
			r.fd = fd
		}
	}
}
