package pooltest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// newPipe returns the ends of a connection in memory. Unlike net.Pipe it has room for what is written, as a socket has:
// nobody waits for the other side to read. Write deadlines do nothing for that reason.
func newPipe() (client, worker net.Conn) {
	a, b := newHalf(), newHalf()
	return &pipeEnd{in: a, out: b}, &pipeEnd{in: b, out: a}
}

// half is one direction.
type half struct {
	mu       sync.Mutex // guards all below
	buf      []byte
	ended    bool // the writer has closed
	closed   bool // the reader has
	deadline time.Time
	changed  chan struct{} // closed when something above changes
}

func newHalf() *half { return &half{changed: make(chan struct{})} }

// change changes the half, and wakes who reads.
func (h *half) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.changed)
	h.changed = make(chan struct{})
}

// take reads what is there. If it returns nothing, wait for a change, or the deadline.
func (h *half) take(p []byte) (n int, changed <-chan struct{}, deadline time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		err = net.ErrClosed
	case !h.deadline.IsZero() && !time.Now().Before(h.deadline):
		err = os.ErrDeadlineExceeded
	case len(h.buf) > 0:
		n = copy(p, h.buf)
		if h.buf = h.buf[n:]; len(h.buf) == 0 {
			h.buf = nil
		}
	case h.ended:
		err = io.EOF
	}
	return n, h.changed, h.deadline, err
}

// pipeEnd is one end.
type pipeEnd struct{ in, out *half }

func (e *pipeEnd) Read(p []byte) (int, error) {
	for {
		n, changed, deadline, err := e.in.take(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		if deadline.IsZero() {
			<-changed
			continue
		}
		t := time.NewTimer(time.Until(deadline))
		select {
		case <-changed:
		case <-t.C:
		}
		t.Stop()
	}
}

func (e *pipeEnd) Write(p []byte) (n int, err error) {
	e.out.change(func() {
		switch {
		case e.out.ended:
			err = net.ErrClosed
		case e.out.closed:
			err = syscall.EPIPE
		default:
			e.out.buf = append(e.out.buf, p...)
			n = len(p)
		}
	})
	return n, err
}

// Close closes both directions. What was written before can still be read.
func (e *pipeEnd) Close() error {
	e.in.change(func() { e.in.closed, e.in.buf = true, nil })
	e.out.change(func() { e.out.ended = true })
	return nil
}

func (e *pipeEnd) SetReadDeadline(t time.Time) error {
	e.in.change(func() { e.in.deadline = t })
	return nil
}

func (e *pipeEnd) SetDeadline(t time.Time) error    { return e.SetReadDeadline(t) }
func (e *pipeEnd) SetWriteDeadline(time.Time) error { return nil }
func (e *pipeEnd) LocalAddr() net.Addr              { return address{} }
func (e *pipeEnd) RemoteAddr() net.Addr             { return address{} }

type address struct{}

func (address) Network() string { return "pipe" }
func (address) String() string  { return "this process" }
