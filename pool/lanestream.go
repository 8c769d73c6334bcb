package pool

import (
	"errors"
	"os"

	"github.com/bullpen-go/bullpen/internal/lane"
	"github.com/bullpen-go/bullpen/wire"
)

// A stream over a lane waits for the socket, and so the read deadline ends what waits. A worker that always has more, or
// always takes more, never has it wait: then the clock is looked at after so many reads, or bytes.
const (
	lapReads = 64
	lapBytes = 4 << 20
)

// readLane reads from shared memory.
func (s *stream) readLane(p []byte) (int, error) {
	if s.reads++; s.reads%lapReads == 0 && s.ctx != nil && !s.patient(now()) {
		return 0, errGaveUp
	}
	n, err := s.lane.Read(p)
	return n, s.laneError(err)
}

// writeLane writes p into shared memory. If there is no room it waits, for as long as the call has patience; the worker hears
// of no cancel meanwhile, as the message before it isn't whole.
func (s *stream) writeLane(p []byte) (n int, err error) {
	for {
		k, err := s.lane.Write(p[n:min(n+lapBytes, len(p))])
		n += k
		s.begun = s.begun || k > 0
		switch {
		case n == len(p): // if the bell finds nobody the worker may have read it all, and replied: Read finds out
			return n, nil
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			return n, s.laneError(err)
		case !s.patientToWrite(now()):
			return n, errGaveUp
		}
	}
}

// patientToWrite is asked when a read deadline has passed in a write, and in the middle of a long one. It sets the next
// deadline, or returns false.
func (s *stream) patientToWrite(at instant) bool {
	if !s.slow {
		if at.since(s.sent) < lazy {
			s.arm(at)
			return true
		}
		s.beSlow()
	}
	if s.deadline != 0 && at >= s.deadline {
		return false
	}
	s.nc.SetReadDeadline(s.deadline.time())
	return s.ctx.Err() == nil // else it may have ended between the look and the new deadline
}

// laneError makes a violation of what a worker can't have written by the rules. One whose memory got mixed up mostly dies of
// it in a moment, and then that is the error.
func (s *stream) laneError(err error) error {
	if !errors.Is(err, lane.ErrCorrupt) {
		return err
	}
	s.corrupt = true
	s.armed = 0
	s.nc.SetReadDeadline(now().add(exitWait).time())
	for {
		switch end := s.Wait(); {
		case errors.Is(end, os.ErrDeadlineExceeded):
			return &wire.ProtocolError{Message: "shared memory", Err: err}
		case end != nil:
			return end
		}
	}
}

// Ring implements lane.Bell.
func (s *stream) Ring() error { return s.visit.ring() }

// Wait implements lane.Bell. A read deadline ends it, as it ends every wait for the worker.
func (s *stream) Wait() error {
	_, err := s.receive(s.rung[:])
	return err
}
