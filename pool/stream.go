package pool

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/bullpen-go/bullpen/internal/lane"
	"github.com/bullpen-go/bullpen/wire"
)

// stream is the byte stream to a worker, with the patience of the call that runs on it.
//
// A short call must pay nothing for its deadline and its context. So the read deadline is set lazily, a moment ahead,
// and left alone by the calls that end before it; only a call that meets it registers with its context and sets its
// real deadline.
//
// Nor does it pay for a look whether its reply is there before it can be: Write puts a short message off, and the Read
// that follows sends it, waits in Go's poller, and only then receives. See visit.
//
// With a lane the bytes go through shared memory, and nothing is put off. Who waits there waits for the connection all the same,
// as its bell, and so deadlines, cancellation and death are the same: see lanestream.go.
//
// States of a call here:
//
//	short    → slow      the lazy deadline passed, and the call is older than lazy
//	slow     → canceled  its context ended: the worker was told, and has its grace to reply
//	short, slow, canceled → over, by a reply, an error, or errGaveUp
type stream struct {
	nc      net.Conn
	w       *worker
	visit   visit
	lane    *lane.End // nil: the bytes go through the connection
	rung    [64]byte
	reads   uint32 // from the lane, in this call
	corrupt bool   // the lane's words are not to be believed

	armed instant // the lazy read deadline in force; 0 if there is another one

	ctx      context.Context
	sent     instant
	deadline instant // 0: none
	writing  bool    // the call isn't written yet
	begun    bool    // but some of it is
	offering bool    // a lane, which comes before it
	slow     bool
	canceled bool
	grace    instant // the end of it
	stop     func() bool
}

const (
	lazy       = 10 * time.Millisecond
	graceSlack = 20 * time.Millisecond // for the reply's way
	cancelSize = 64                    // a cancel is shorter
	mayBlock   = 32 << 10              // a shorter write always fits into the socket of a worker that waits
)

var (
	errGaveUp = errors.New("the call's time was over")
	longAgo   = time.Unix(1, 0)
)

func (s *stream) init(w *worker, nc net.Conn) {
	s.w, s.nc = w, nc
	if canVisit {
		s.visit.raw = rawConn(plain(nc))
	}
	s.visit.step, s.visit.bell = s.visit.take, s.visit.sendBell
}

// rawConn returns the way to nc's descriptor, or nil if it has none, or if nc isn't known to do no more than read and write
// that.
func rawConn(nc net.Conn) syscall.RawConn {
	var raw syscall.RawConn
	switch c := nc.(type) {
	case *net.UnixConn:
		raw, _ = c.SyscallConn()
	case *net.TCPConn:
		raw, _ = c.SyscallConn()
	}
	return raw
}

// begin begins a call.
func (s *stream) begin(ctx context.Context, at, deadline instant) {
	s.ctx, s.sent, s.deadline = ctx, at, deadline
	s.writing, s.begun, s.slow, s.canceled, s.reads = true, false, false, false, 0
	if at >= s.armed {
		s.arm(at)
	}
}

// arm sets the lazy deadline.
func (s *stream) arm(at instant) {
	s.armed = at.add(lazy)
	s.nc.SetReadDeadline(s.armed.time())
}

// written says that all of the call was given to Write.
func (s *stream) written() { s.writing = s.visit.out != nil }

// keep keeps what was put off from being overwritten by the next message.
func (s *stream) keep() { s.visit.out = bytes.Clone(s.visit.out) }

// done ends a call.
func (s *stream) done() {
	if s.slow {
		s.stop()
		s.armed = 0
	}
	s.ctx, s.stop, s.slow = nil, nil, false
	s.visit.out = nil
}

// Read reads for as long as the call has patience, and then returns errGaveUp.
func (s *stream) Read(p []byte) (int, error) {
	for {
		n, err := s.read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		switch {
		case s.ctx == nil: // no call: a hello has all the time it wants
			s.armed = 0
			s.nc.SetReadDeadline(time.Time{})
		case s.visit.out != nil: // the call is still to be sent
			s.arm(now())
		case !s.patient(now()):
			return 0, errGaveUp
		}
	}
}

// read sends what was put off, and reads.
func (s *stream) read(p []byte) (int, error) {
	if s.lane != nil {
		return s.readLane(p)
	}
	n, err := s.receive(p)
	s.writing = s.writing && s.visit.out != nil
	return n, err
}

// receive is read from the connection.
func (s *stream) receive(p []byte) (int, error) {
	if s.visit.raw == nil {
		return s.nc.Read(p)
	}
	for {
		n, err := s.visit.roundTrip(p)
		if err != errMoreToSend {
			return n, err
		}
		rest := s.visit.out
		s.visit.out = nil
		s.begun = s.begun || s.visit.sent > 0
		if _, err := s.nc.Write(rest); err != nil {
			return 0, err
		}
		s.writing = false
	}
}

// patient is asked when a read deadline has passed. It sets the next one, or returns false.
func (s *stream) patient(at instant) bool {
	if !s.slow {
		if at.since(s.sent) < lazy {
			s.arm(at)
			return true
		}
		s.beSlow()
	}
	for {
		if s.ctx.Err() != nil && !s.canceled {
			s.canceled = true
			s.grace = at.add(s.w.hello.Load().Grace + graceSlack)
			if s.deadline != 0 {
				s.grace = min(s.grace, s.deadline)
			}
			if !s.w.sendCancel(s.grace.time()) {
				return false
			}
		}
		until := s.deadline
		if s.canceled {
			until = s.grace
		}
		if until != 0 && at >= until {
			return false
		}
		s.nc.SetReadDeadline(until.time())
		if s.canceled || s.ctx.Err() == nil { // else it ended between the look and the new deadline
			return true
		}
	}
}

// beSlow has the end of the call's context end a wait.
func (s *stream) beSlow() {
	s.slow = true
	s.stop = context.AfterFunc(s.ctx, func() { s.nc.SetReadDeadline(longAgo) })
}

// Write writes p, or puts it off if it is short and begins a call. Only a large message can block, and then for as long as
// the call has patience.
func (s *stream) Write(p []byte) (n int, err error) {
	if s.lane != nil {
		return s.writeLane(p)
	}
	head := s.visit.out
	s.visit.out = nil
	switch {
	case s.writing && s.ctx != nil && len(head)+len(p) <= mayBlock && s.visit.raw != nil:
		if head == nil {
			s.visit.out = p // it stays as it is until the reply has come
		} else {
			s.visit.out = append(head, p...)
		}
		return len(p), nil
	case head == nil && len(p) <= mayBlock || s.ctx == nil:
		n, err = s.nc.Write(p)
	default:
		n, err = s.writeLarge(head, p)
	}
	s.begun = s.begun || n > 0
	return n, err
}

// writeLarge writes head, which was put off, and p, and returns how much of p was written.
func (s *stream) writeLarge(head, p []byte) (int, error) {
	s.nc.SetWriteDeadline(s.deadline.time())
	canceled := make(chan struct{})
	stop := context.AfterFunc(s.ctx, func() {
		s.nc.SetWriteDeadline(longAgo)
		close(canceled)
	})
	bufs := net.Buffers{p}
	if head != nil {
		bufs = net.Buffers{head, p}
	}
	n, err := bufs.WriteTo(plain(s.nc))
	s.begun = s.begun || n > 0
	if !stop() {
		<-canceled
	}
	s.nc.SetWriteDeadline(time.Time{}) // later writes are short and have none
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errGaveUp
	}
	return max(int(n)-len(head), 0), err
}

// plain returns the connection that nc stands for: one by which several buffers are written at once.
func plain(nc net.Conn) net.Conn {
	switch c := nc.(type) {
	case interface{ inner() net.Conn }:
		return plain(c.inner())
	case interface {
		wire.Lifeline
		NetConn() net.Conn
	}:
		return plain(c.NetConn())
	}
	return nc
}

// sendCancel tells the worker that the running call's context has ended. The JSON wire has no word for it. A worker that
// hasn't read its call may have no room for more: that is waited for until the given time.
func (w *worker) sendCancel(until time.Time) bool {
	if w.pool.config.Wire == wire.JSON {
		return false
	}
	switch end := w.stream.lane; {
	case w.stream.offering: // nothing runs, and a worker that answers an offer expects nothing behind it
		return true
	case end != nil && end.Room() < cancelSize: // it has not even read its call
		return false
	}
	w.nc.SetWriteDeadline(until)
	defer w.nc.SetWriteDeadline(time.Time{})
	return w.conn.Write(&wire.Message{Type: wire.TypeCancel, ID: w.id}) == nil
}
