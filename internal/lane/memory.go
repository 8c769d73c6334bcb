package lane

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"
)

// How large a ring may be, in bytes. It is a power of two.
const (
	MinRing     = 4 << 10
	MaxRing     = 16 << 20
	DefaultRing = 1 << 20
)

// Memory is what the two ends share: a page of words and two rings.
type Memory struct {
	file   *os.File // nil if it isn't this side's, or closed
	mem    []byte   // mapped until nothing refers to the Memory
	ring   int
	closed atomic.Bool
}

// ErrClosed is what an end returns after Close of its memory.
var ErrClosed = fmt.Errorf("the shared memory of a connection: %w", os.ErrClosed)

// Ring returns the size of each ring in bytes.
func (m *Memory) Ring() int { return m.ring }

// File returns the file to send to the peer, or nil: after CloseFile, and of a memory that Open has returned.
func (m *Memory) File() *os.File { return m.file }

// CloseFile closes the file, and does nothing the second time. The ends go on.
func (m *Memory) CloseFile() error {
	f := m.file
	m.file = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// Close gives the memory back to the system at once, and closes the file. The ends return ErrClosed from then on, but it
// doesn't wake one that waits for its bell: close the socket too. What still reads or writes meanwhile does no harm, because
// the addresses stay mapped for as long as an End or the Memory can be reached. The peer loses the memory as well, and finds it
// corrupt. Closing it twice does nothing.
func (m *Memory) Close() error {
	if m.closed.Swap(true) {
		return nil
	}
	err := free(m.mem)
	if cerr := m.CloseFile(); err == nil {
		err = cerr
	}
	return err
}

// checkRing returns an error if a ring can't have that size.
func checkRing(ring int) error {
	if ring < MinRing || ring > MaxRing || ring&(ring-1) != 0 {
		return fmt.Errorf("a ring of %d bytes: it must be a power of two from %d to %d", ring, MinRing, MaxRing)
	}
	return nil
}

// line is what one core takes from another at a time: two cache lines, because they are fetched in pairs.
const line = 128

// words are those of one side. See the package's comment.
type words struct {
	tail   atomic.Uint64
	look   atomic.Uint32
	_      [line - 12]byte
	head   atomic.Uint64
	_      [line - 8]byte
	asleep atomic.Uint32
	_      [line - 4]byte
	full   atomic.Uint32
	_      [line - 4]byte
}

// pageSize is that of the page of words. On systems with larger pages it is a part of one.
const pageSize = 4 << 10

type page struct{ app, worker words }

var _ [pageSize - unsafe.Sizeof(page{})]byte // it fits

// parts returns the page of words, the ring that the app writes and the one that the worker writes.
func (m *Memory) parts() (p *page, app, worker []byte) {
	rings := m.mem[pageSize:]
	return (*page)(unsafe.Pointer(&m.mem[0])), rings[:m.ring:m.ring], rings[m.ring : 2*m.ring : 2*m.ring]
}
