package server

import (
	"errors"
	"net"
	"os"
	"time"
)

// connTransport is a transport over any connection: a worker's on systems where socket does nothing special, and that of
// a worker in this process.
type connTransport struct{ net.Conn }

func (t connTransport) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, errInterrupted
	}
	return n, err
}

func (t connTransport) Interrupt() { t.SetReadDeadline(time.Unix(1, 0)) }
func (t connTransport) Resume()    { t.SetReadDeadline(time.Time{}) }

// Park implements transport: every Read waits so here.
func (t connTransport) Park() {}

// Arrived implements transport: nobody has looked at the clock.
func (t connTransport) Arrived() int64 { return 0 }
