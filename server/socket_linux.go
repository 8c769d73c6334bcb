package server

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/scoreboard"
)

// How a worker waits for its next call decides most of what a call costs: a blocking receive that the Go scheduler
// doesn't know of is woken twice as fast as one that it does. But while it waits so, no other goroutine runs and no
// garbage is collected. So:
//
//	raw     while calls come in quick succession: recvfrom by raw system call on the blocking socket, for rawWait at
//	        most; every yieldEvery the others run first
//	parked  once calls come less often than every parkAbove on average, or one wait reached rawWait, and while others
//	        are found to have work: in Go's poller
//
// The socket stays blocking in both; to park, it sits in an epoll of its own, and that epoll's descriptor is what Go's
// poller waits for.
const (
	rawWait    = 2 * time.Millisecond
	yieldEvery = 100 * time.Microsecond
	yieldFor   = 500 * time.Microsecond // and no longer
	ranNobody  = time.Microsecond       // a shorter yield has found nobody else to run,
	ranLong    = 20 * time.Microsecond  // and after a longer one
	shareFor   = time.Millisecond       // others will want to run again soon
	parkAbove  = 400 * time.Microsecond
	averageOf  = 8
)

// socket is a worker's connection.
type socket struct {
	fd      int
	epoll   *os.File
	ready   syscall.RawConn
	look    func(ep uintptr) bool // readable, bound once and for all
	events  [1]unix.EpollEvent
	average time.Duration // between two arrivals
	arrived int64         // the last one
	told    bool          // by Arrived
	yielded int64
	shared  int64 // until then others have work, as a yield has found: the garbage collector, most likely

	interrupted atomic.Bool
	rights      *rights // nil unless a descriptor may come
}

// newSocket makes all of it that can be made before there is a connection.
func newSocket() (*socket, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("connection: %w", err)
	}
	if err := unix.SetNonblock(ep, true); err != nil { // os.NewFile then puts it into Go's poller
		return nil, fmt.Errorf("connection: %w", err)
	}
	s := &socket{fd: -1, epoll: os.NewFile(uintptr(ep), "epoll"), average: parkAbove + 1}
	s.look = s.readable
	if s.ready, err = s.epoll.SyscallConn(); err != nil {
		return nil, fmt.Errorf("connection: %w", err)
	}
	return s, nil
}

// connect takes the connection fd over.
func (s *socket) connect(fd int) error {
	if err := unix.SetNonblock(fd, false); err != nil {
		return fmt.Errorf("connection: %w", err)
	}
	tv := unix.NsecToTimeval(int64(rawWait))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return fmt.Errorf("connection: %w", err)
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // fails on a unix socket, which needs none
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP}
	var err error
	s.ready.Control(func(ep uintptr) { err = unix.EpollCtl(int(ep), unix.EPOLL_CTL_ADD, fd, &ev) })
	if err != nil {
		return fmt.Errorf("connection: %w", err)
	}
	s.fd = fd
	return nil
}

// descriptor returns the connection's.
func (s *socket) descriptor() int { return s.fd }

// Close closes the connection. That of a worker stays open until its end.
func (s *socket) Close() error {
	s.epoll.Close()
	return unix.Close(s.fd)
}

// Read reads what is there, and waits for it if need be.
func (s *socket) Read(p []byte) (int, error) {
	s.makeWay()
	n, err := s.await(p)
	s.note(scoreboard.Now())
	return n, err
}

// makeWay lets others run from time to time.
func (s *socket) makeWay() {
	if s.arrived < s.shared || s.arrived-s.yielded > int64(yieldEvery) {
		s.yield()
	}
}

// note notes that something has arrived.
func (s *socket) note(now int64) {
	last := s.arrived
	s.arrived, s.told = now, false
	s.average += (min(time.Duration(now-last), rawWait) - s.average) / averageOf // one pause alone changes nothing
}

// await waits until there is something to read, and reads it.
func (s *socket) await(p []byte) (int, error) {
	n, err := 0, unix.EAGAIN
	if s.average <= parkAbove && s.arrived >= s.shared {
		n, err = s.recv(p, 0)
	}
	for err == unix.EAGAIN || err == unix.EINTR {
		// EINTR is also how the runtime asks a raw wait to let a garbage collection begin.
		if err := s.wait(); err != nil {
			return 0, err
		}
		n, err = s.recv(p, unix.MSG_DONTWAIT)
	}
	if err != 0 {
		return 0, os.NewSyscallError("recvfrom", err)
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// yield lets other goroutines run, for as long as there are some that want to: a garbage collection that somebody waits
// for is made of many short pieces.
func (s *socket) yield() {
	begin := scoreboard.Now()
	for last := begin; last-begin < int64(yieldFor); {
		runtime.Gosched()
		s.yielded = scoreboard.Now()
		ran := s.yielded - last
		if ran < int64(ranNobody) {
			return
		}
		if ran > int64(ranLong) {
			s.shared = s.yielded + int64(shareFor)
		}
		last = s.yielded
	}
}

// Park implements transport.
func (s *socket) Park() { s.average = rawWait }

// Expect has the next Read begin with a look: something is there already.
func (s *socket) Expect() { s.average = 0 }

// Arrived implements transport.
func (s *socket) Arrived() int64 {
	if s.told {
		return 0
	}
	s.told = true
	return s.arrived
}

// recv is recvfrom(2) behind the scheduler's back. The socket's timeout, or MSG_DONTWAIT, keeps it short.
func (s *socket) recv(p []byte, flags int) (int, syscall.Errno) {
	if s.rights != nil {
		return s.rights.recv(s.fd, p, flags)
	}
	n, _, err := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
		uintptr(len(p)), uintptr(flags), 0, 0)
	if err != 0 {
		return 0, err
	}
	return int(n), 0
}

// peek returns the first byte of what there is to read, and leaves it there. n is 0 at the end of the stream. The scheduler isn't
// told: while it was, it gave this goroutine's place to others, and a standby's first call waited for them.
func (s *socket) peek() (b byte, n int, err syscall.Errno) {
	one := [1]byte{}
	r, _, err := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(&one)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	return one[0], int(r), err
}

// wait waits in Go's poller until the socket is readable, or Interrupt.
func (s *socket) wait() error {
	if err := s.ready.Read(s.look); err != nil {
		return errInterrupted
	}
	return nil
}

func (s *socket) readable(ep uintptr) bool {
	n, err := unix.EpollWait(int(ep), s.events[:], 0)
	return n > 0 || (err != nil && err != unix.EINTR)
}

// Write writes all of p. A client that doesn't read holds it up in the kernel, as a running call that HungTimeout ends.
func (s *socket) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, _, err := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&p[done])),
			uintptr(len(p)-done), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if err == unix.EAGAIN {
			k, werr := unix.SendmsgN(s.fd, p[done:], nil, nil, unix.MSG_NOSIGNAL)
			n, err = uintptr(k), 0
			if werr != nil {
				n, err = 0, werr.(syscall.Errno)
			}
		}
		if err != 0 && err != unix.EINTR {
			return done, os.NewSyscallError("sendto", err)
		}
		if err == 0 {
			done += int(n)
		}
	}
	return done, nil
}

// Interrupt implements transport.
func (s *socket) Interrupt() {
	s.interrupted.Store(true)
	s.epoll.SetReadDeadline(time.Unix(1, 0))
}

// Resume implements transport.
func (s *socket) Resume() {
	s.interrupted.Store(false)
	s.epoll.SetReadDeadline(time.Time{})
}
