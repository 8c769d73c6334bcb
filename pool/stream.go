package pool

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// stream is the byte stream to a worker, with the patience of the call that runs on it.
//
// A short call must pay nothing for its deadline and its context. So the read deadline is set lazily, a moment ahead,
// and left alone by the calls that end before it; only a call that meets it registers with its context and sets its
// real deadline.
//
// States of a call here:
//
//	short    → slow      the lazy deadline passed, and the call is older than lazy
//	slow     → canceled  its context ended: the worker was told, and has its grace to reply
//	short, slow, canceled → over, by a reply, an error, or errGaveUp
type stream struct {
	nc net.Conn
	w  *worker

	armed time.Time // the lazy read deadline in force; zero if there is another one

	ctx      context.Context
	sent     time.Time
	deadline time.Time // zero: none
	writing  bool      // the call isn't written yet
	begun    bool      // but some of it is
	slow     bool
	canceled bool
	grace    time.Time // the end of it
	stop     func() bool
}

const (
	lazy       = 10 * time.Millisecond
	graceSlack = 20 * time.Millisecond // for the reply's way
	mayBlock   = 32 << 10              // a shorter write always fits into the socket of a worker that waits
)

var (
	errGaveUp = errors.New("the call's time was over")
	longAgo   = time.Unix(1, 0)
)

// begin begins a call.
func (s *stream) begin(ctx context.Context, now, deadline time.Time) {
	s.ctx, s.sent, s.deadline = ctx, now, deadline
	s.writing, s.begun, s.slow, s.canceled = true, false, false, false
	if !now.Before(s.armed) {
		s.armed = now.Add(lazy)
		s.nc.SetReadDeadline(s.armed)
	}
}

// done ends a call.
func (s *stream) done() {
	if s.slow {
		s.stop()
		s.armed = time.Time{}
	}
	s.ctx, s.stop, s.slow = nil, nil, false
}

// Read reads for as long as the call has patience, and then returns errGaveUp.
func (s *stream) Read(p []byte) (int, error) {
	for {
		n, err := s.nc.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if s.ctx == nil { // no call: a hello has all the time it wants
			s.armed = time.Time{}
			s.nc.SetReadDeadline(time.Time{})
			continue
		}
		if !s.patient(time.Now()) {
			return 0, errGaveUp
		}
	}
}

// patient is asked when a read deadline has passed. It sets the next one, or returns false.
func (s *stream) patient(now time.Time) bool {
	if !s.slow {
		if now.Sub(s.sent) < lazy {
			s.armed = now.Add(lazy)
			s.nc.SetReadDeadline(s.armed)
			return true
		}
		s.slow = true
		s.stop = context.AfterFunc(s.ctx, func() { s.nc.SetReadDeadline(longAgo) })
	}
	for {
		if s.ctx.Err() != nil && !s.canceled {
			s.canceled = true
			s.grace = now.Add(s.w.hello.Grace + graceSlack)
			if !s.deadline.IsZero() && s.deadline.Before(s.grace) {
				s.grace = s.deadline
			}
			if !s.w.sendCancel(s.grace) {
				return false
			}
		}
		until := s.deadline
		if s.canceled {
			until = s.grace
		}
		if !until.IsZero() && !now.Before(until) {
			return false
		}
		s.nc.SetReadDeadline(until)
		if s.canceled || s.ctx.Err() == nil { // else it ended between the look and the new deadline
			return true
		}
	}
}

// Write writes p. Only a large message can block, and then for as long as the call has patience.
func (s *stream) Write(p []byte) (n int, err error) {
	if len(p) <= mayBlock || s.ctx == nil {
		n, err = s.nc.Write(p)
	} else {
		n, err = s.writeLarge(p)
	}
	s.begun = s.begun || n > 0
	return n, err
}

func (s *stream) writeLarge(p []byte) (int, error) {
	s.nc.SetWriteDeadline(s.deadline)
	canceled := make(chan struct{})
	stop := context.AfterFunc(s.ctx, func() {
		s.nc.SetWriteDeadline(longAgo)
		close(canceled)
	})
	n, err := s.nc.Write(p)
	if !stop() {
		<-canceled
	}
	s.nc.SetWriteDeadline(time.Time{}) // later writes are short and have none
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, errGaveUp
	}
	return n, err
}

// sendCancel tells the worker that the running call's context has ended. The JSON wire has no word for it. A worker that
// hasn't read its call may have no room for more: that is waited for until the given time.
func (w *worker) sendCancel(until time.Time) bool {
	if w.pool.config.Wire == wire.JSON {
		return false
	}
	w.nc.SetWriteDeadline(until)
	defer w.nc.SetWriteDeadline(time.Time{})
	return w.conn.Write(&wire.Message{Type: wire.TypeCancel, ID: w.id}) == nil
}
