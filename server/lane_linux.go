package server

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/lane"
	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/wire"
)

// laned is a worker's connection whose bytes go through shared memory. The socket is its bell, and the sign of its client's
// life: who waits here waits for the socket, in the same two ways, is interrupted there, and learns there that the client
// has gone.
type laned struct {
	*socket
	end  *lane.End
	bell *bell
	file uint64 // the socket's inode
}

// Connected implements sharer. A descriptor of the same number may be another file by now.
func (l *laned) Connected() bool {
	var file unix.Stat_t
	err := unix.Fstat(l.fd, &file)
	return err == nil && file.Ino == l.file
}

// Read implements transport.
func (l *laned) Read(p []byte) (int, error) {
	l.makeWay()
	if l.interrupted.Load() {
		return 0, errInterrupted
	}
	n, err := l.end.Read(p)
	l.note(scoreboard.Now())
	return n, l.failed(err)
}

// Write implements transport. Interrupt is for a Read: a reply that waits for room goes on waiting.
func (l *laned) Write(p []byte) (int, error) {
	done, err := l.end.Write(p)
	if err == nil {
		return done, nil
	}
	l.bell.inKernel.Store(true)
	for errors.Is(err, errInterrupted) {
		var n int
		n, err = l.end.Write(p[done:])
		done += n
	}
	l.bell.inKernel.Store(false)
	return done, l.failed(err)
}

// failed tells what an error means. A client that has closed its connection has given the memory back, which looks like one
// that breaks the rules.
func (l *laned) failed(err error) error {
	if !errors.Is(err, lane.ErrCorrupt) {
		return err
	}
	bells := make([]byte, 64)
	for {
		n, rerr := l.recv(bells, unix.MSG_DONTWAIT)
		switch {
		case rerr == unix.EAGAIN:
			return &wire.ProtocolError{Message: "shared memory", Err: err}
		case rerr != 0 && rerr != unix.EINTR, rerr == 0 && n == 0:
			return io.EOF
		}
	}
}

// bell is the socket as lane.Bell.
type bell struct {
	*socket
	rung     [64]byte
	inKernel atomic.Bool // wait there, where nothing interrupts
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
	if b.inKernel.Load() {
		return b.waitInKernel()
	}
	_, err := b.await(b.rung[:])
	return err
}

// waitInKernel is Wait where Interrupt doesn't reach.
func (b *bell) waitInKernel() error {
	for {
		unix.Poll([]unix.PollFd{{Fd: int32(b.fd), Events: unix.POLLIN}}, -1)
		n, err := b.recv(b.rung[:], unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
		case err != 0:
			return os.NewSyscallError("recvfrom", err)
		case n == 0:
			return io.EOF
		default:
			return nil
		}
	}
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

var errNoLane = errors.New("no memory has come with the message")

// Lane implements laner.
func (s *socket) Lane() (sharer, error) {
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
	var file unix.Stat_t
	if err := unix.Fstat(s.fd, &file); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	b := &bell{socket: s}
	return &laned{s, lane.NewWorker(m, b), b, file.Ino}, nil
}

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
