package server

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is a worker's connection, waited for in Go's poller.
type socket struct {
	connTransport
	fd int
}

func newSocket() (*socket, error) { return new(socket), nil }

// connect takes the connection fd over.
func (s *socket) connect(fd int) error {
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return fmt.Errorf("connection: %w", err)
	}
	s.Conn = c
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { s.fd = int(fd) })
		}
	}
	return nil
}

// descriptor returns the connection's, which stays open as long as the socket does.
func (s *socket) descriptor() int { return s.fd }

// peek returns the first byte of what there is to read, and leaves it there. n is 0 at the end of the stream.
func (s *socket) peek() (b byte, n int, err syscall.Errno) {
	one := make([]byte, 1)
	n, _, rerr := unix.Recvfrom(s.fd, one, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	err, _ = rerr.(syscall.Errno)
	return one[0], n, err
}

// Expect does nothing: every Read begins with a look.
func (s *socket) Expect() {}
