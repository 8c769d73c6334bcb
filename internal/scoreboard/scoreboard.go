// Package scoreboard is memory that processes share, by which they see what the others do without asking them. It lies in
// four kinds of files without names:
//
//	slots   one for each worker, which writes it without a system call. What stands there is a hint from a process that may
//	        be dead or hostile: readers check every length
//	roster  whose the slots are: numbers and pids. Only the server writes it, and no worker gets it
//	asks    who wants a worker to be retired writes its number there, and sends SIGCONT to the server
//	page    what a pool counts
//
// A server maps the slots, and so does each worker its own. All others read the files, which can't fail by a signal as mapped
// memory can. The app has the descriptors of slots and roster from its server; what isn't of its tree, bullpen top, opens
// /proc/PID/fd, which the kernel lets the processes of the same user do, and root, and nobody else.
package scoreboard

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// SlotSize is the size of a slot: a page of figures and the rest for log records. Pages nobody touched take no memory.
const SlotSize = 64 << 10

const (
	maxMethod = 128
	logOffset = 4 << 10
	logSize   = SlotSize - logOffset
)

// State is what a worker does.
type State uint32

const (
	Free     State = iota // the slot is nobody's
	Starting              // the process was started
	SettingUp
	Idle    // waits for a call
	Running // a handler
	Hook    // CheckoutDone
)

// String returns the state in a word.
func (s State) String() string {
	names := [...]string{"free", "starting", "setting up", "idle", "running", "hook"}
	if int(s) < len(names) {
		return names[s]
	}
	return "unknown"
}

// Slot is a worker's part of the scoreboard.
type Slot struct {
	figures
	_   [logOffset - unsafe.Sizeof(figures{})]byte
	log [logSize]byte
}

// figures are its first part, which is read by others.
type figures struct {
	state     atomic.Uint32
	watched   atomic.Uint32 // 1: the server's watch sleeps and wants to be woken by the next call
	since     atomic.Int64  // monotonic ns at which the state began, if it is one that can hang
	calls     atomic.Uint64
	checkouts atomic.Uint64
	errors    atomic.Uint64
	logged    atomic.Uint32 // bytes of log records
	methodLen atomic.Uint32
	taken     atomic.Uint32 // 1: the worker has its connection, and may have read from it
	_         uint32
	bytesIn   atomic.Uint64 // on the worker's connection
	bytesOut  atomic.Uint64
	method    [maxMethod]byte
}

var _ [SlotSize]byte = [unsafe.Sizeof(Slot{})]byte{}

// Now returns the system's monotonic clock in nanoseconds; it is the same clock in every process.
func Now() int64 { return clockBase() + int64(time.Since(processStart)) }

var (
	processStart = time.Now()
	clockBase    = sync.OnceValue(func() int64 { return monotonic() - int64(time.Since(processStart)) })
)

// Enter begins a state that can hang. It reports whether the server's watch is asleep and must be told.
func (s *Slot) Enter(st State, now int64) (wake bool) {
	s.since.Store(now) // before the state: a reader must not see the new one with the old time
	s.state.Store(uint32(st))
	return s.watched.Load() != 0 && s.watched.CompareAndSwap(1, 0)
}

// Rest makes the worker idle.
func (s *Slot) Rest() { s.state.Store(uint32(Idle)) }

// Take notes that the worker has its connection. Before it nothing was read from that.
func (s *Slot) Take() { s.taken.Store(1) }

// Taken reports whether the worker had its connection.
func (s *Slot) Taken() bool { return s.taken.Load() != 0 }

// SetMethod notes the method that will run. A name above 128 bytes is cut. Mostly it is the one that ran before.
func (s *Slot) SetMethod(name string) {
	if n := s.methodLen.Load(); n <= maxMethod && string(s.method[:n]) == name {
		return
	}
	s.methodLen.Store(uint32(copy(s.method[:], name)))
}

// CountCall counts a finished call. in and out are all bytes that the connection has carried so far.
func (s *Slot) CountCall(failed bool, in, out uint64) {
	s.bytesIn.Store(in)
	s.bytesOut.Store(out)
	s.calls.Add(1)
	if failed {
		s.errors.Add(1)
	}
}

// CountCheckout counts a finished checkout.
func (s *Slot) CountCheckout() { s.checkouts.Add(1) }

// reset makes the slot one that nobody has used. Somebody may still be reading it.
func (s *Slot) reset() {
	s.state.Store(uint32(Free))
	s.watched.Store(0)
	s.since.Store(0)
	s.calls.Store(0)
	s.checkouts.Store(0)
	s.errors.Store(0)
	s.logged.Store(0)
	s.methodLen.Store(0)
	s.taken.Store(0)
	s.bytesIn.Store(0)
	s.bytesOut.Store(0)
}

// Figures are what a slot shows.
type Figures struct {
	State     State
	Since     int64 // on the clock of Now
	Method    string
	Calls     uint64
	Checkouts uint64
	Errors    uint64
	BytesIn   uint64 // of all calls that have ended
	BytesOut  uint64
}

// Read returns what the slot shows now.
func (s *figures) Read() Figures {
	f := Figures{State: State(s.state.Load()), Since: s.since.Load(), Calls: s.calls.Load(),
		Checkouts: s.checkouts.Load(), Errors: s.errors.Load(), BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load()}
	if n := s.methodLen.Load(); n <= maxMethod {
		f.Method = string(append([]byte(nil), s.method[:n]...))
	}
	return f
}

// Busy reports whether the worker is in a state that can hang.
func (s *Slot) Busy() bool {
	st := State(s.state.Load())
	return st != Idle && st != Free
}

// Calling reports whether the worker runs a handler or a CheckoutDone hook.
func (s *Slot) Calling() bool {
	st := State(s.state.Load())
	return st == Running || st == Hook
}

// Watch asks the worker to wake the server's watch when it next begins something, or takes that back. A watch that goes
// to sleep asks first and looks then, as the worker begins first and looks then: one of them sees the other.
func (s *Slot) Watch(on bool) {
	if on {
		s.watched.Store(1)
	} else {
		s.watched.Store(0)
	}
}

// ResetLog forgets the log records of the call before.
func (s *Slot) ResetLog() {
	if s.logged.Load() != 0 {
		s.logged.Store(0)
	}
}

// AppendLog keeps an encoded log record, in case the worker dies before it can send it. It reports whether there was
// room.
func (s *Slot) AppendLog(rec []byte) bool {
	at := int(s.logged.Load())
	if at+4+len(rec) > logSize {
		return false
	}
	binary.NativeEndian.PutUint32(s.log[at:], uint32(len(rec)))
	copy(s.log[at+4:], rec)
	s.logged.Store(uint32(at + 4 + len(rec)))
	return true
}

// Log returns copies of the encoded records.
func (s *Slot) Log() [][]byte {
	n := s.logged.Load()
	if n > logSize {
		return nil
	}
	b := append([]byte(nil), s.log[:n]...)
	var recs [][]byte
	for len(b) >= 4 {
		n := binary.NativeEndian.Uint32(b)
		if uint64(n) > uint64(len(b)-4) {
			break
		}
		recs = append(recs, b[4:4+n])
		b = b[4+n:]
	}
	return recs
}

// Local returns a slot that nobody shares, for a worker without a server.
func Local() *Slot { return new(Slot) }
