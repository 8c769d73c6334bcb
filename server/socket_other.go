//go:build !linux

package server

import (
	"fmt"
	"net"
	"os"
)

// socket is a worker's connection, waited for in Go's poller.
type socket struct{ connTransport }

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
	return nil
}
