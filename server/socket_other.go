//go:build !linux

package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// socket is a worker's connection, waited for in Go's poller.
type socket struct{ net.Conn }

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

func (s *socket) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, errInterrupted
	}
	return n, err
}

func (s *socket) Interrupt() { s.SetReadDeadline(time.Unix(1, 0)) }
func (s *socket) Resume()    { s.SetReadDeadline(time.Time{}) }

// Park implements transport: every Read waits so here.
func (s *socket) Park() {}

// Arrived implements transport: nobody has looked at the clock.
func (s *socket) Arrived() int64 { return 0 }
