package lane

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// ErrCorrupt is what an end returns when the peer has stored what can't be: the connection is of no more use.
var ErrCorrupt = errors.New("the peer has corrupted the shared memory")

// source is the reading half of an end: the ring that the peer writes.
type source struct {
	ring      []byte
	head      uint64 // read so far
	published uint64 // the head of which the peer was last told, if it waits for room
	tail      uint64 // the peer's, as it was last loaded and found good
	burst     bool   // so much came at once that more is likely to follow
	found     found

	sharedHead *atomic.Uint64
	asleep     *atomic.Uint32
	sharedTail *atomic.Uint64 // the peer's
	full       *atomic.Uint32 // the peer's
}

// ready reports whether there are bytes to take.
func (s *source) ready() (bool, error) {
	if s.tail != s.head {
		return true, nil
	}
	tail := s.sharedTail.Load()
	n := tail - s.head
	if n == 0 {
		return false, nil
	}
	if n > uint64(len(s.ring)) {
		return false, corrupt("written", tail, s.head, len(s.ring))
	}
	s.tail, s.burst = tail, n >= uint64(len(s.ring)/4)
	return true, nil
}

// take copies bytes out, as many as there are: of a large message no more than a quarter of the ring, so that the peer can
// write while this side reads. It reports whether the peer waits for the room that this has made.
func (s *source) take(p []byte) (n int, ring bool) {
	past := len(p) >= streamOut
	p = p[:min(uint64(len(p)), s.tail-s.head, uint64(len(s.ring)/4))]
	at := int(s.head) & (len(s.ring) - 1)
	n = move(p, s.ring[at:], past)
	if n < len(p) {
		n += move(p[n:], s.ring, past)
	}
	s.head += uint64(n)
	s.sharedHead.Store(s.head)
	if s.head-s.published < uint64(len(s.ring)/4) {
		return n, false
	}
	s.published = s.head
	return n, s.full.Load() != 0 && s.full.Swap(0) != 0
}

// sink is the writing half of an end: the ring that the peer reads.
type sink struct {
	ring  []byte
	tail  uint64 // written so far
	head  uint64 // the peer's, as it was last loaded and found good
	found found

	sharedTail *atomic.Uint64
	full       *atomic.Uint32
	sharedHead *atomic.Uint64 // the peer's
	asleep     *atomic.Uint32 // the peer's
}

// ready reports whether there is room.
func (s *sink) ready() (bool, error) {
	if s.tail-s.head < uint64(len(s.ring)) {
		return true, nil
	}
	head := s.sharedHead.Load()
	used := s.tail - head
	if used > uint64(len(s.ring)) {
		return false, corrupt("read", head, s.tail, len(s.ring))
	}
	s.head = head
	return used < uint64(len(s.ring)), nil
}

// unread returns how much of what was written the peer has still to read; 0 if it has stored what can't be, which ready finds out.
func (s *sink) unread() int {
	n := s.tail - s.sharedHead.Load()
	if n > uint64(len(s.ring)) {
		return 0
	}
	return int(n)
}

// put copies bytes in, as many as there is room for: of a large message no more than a quarter of the ring, so that the peer
// can begin to read. It reports whether the peer waits for them.
func (s *sink) put(p []byte) (n int, ring bool) {
	size := uint64(len(s.ring))
	past := len(p) >= streamIn
	p = p[:min(uint64(len(p)), size-(s.tail-s.head), size/4)]
	at := int(s.tail) & (len(s.ring) - 1)
	n = move(s.ring[at:], p, past)
	if n < len(p) {
		n += move(s.ring, p[n:], past)
	}
	s.tail += uint64(n)
	s.sharedTail.Store(s.tail)
	return n, s.asleep.Load() != 0 && s.asleep.Swap(0) != 0
}

// What is large goes past the caches: into a ring, and out of it if whoever reads it next finds it in no cache anyway.
const (
	streamIn  = 256 << 10
	streamOut = 1 << 20
)

// move copies, past the caches or through them.
func move(dst, src []byte, past bool) int {
	if past {
		return stream(dst, src)
	}
	return copy(dst, src)
}

func corrupt(what string, peer, own uint64, ring int) error {
	return fmt.Errorf("%w: it has %s %d bytes where %d are known, and the ring has %d", ErrCorrupt, what, peer, own, ring)
}
