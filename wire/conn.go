package wire

import (
	"io"
	"math"
	"net"
	"sync/atomic"
)

// DefaultMaxMessage is how large a message's body may be unless a config says otherwise, in bytes: 64 MiB, and what tells
// how long they are.
const DefaultMaxMessage = 64<<20 + 64

const (
	firstBuffer = 4 << 10   // what a connection begins with
	keepBuffer  = 256 << 10 // a larger buffer is not kept after its message
	large       = 1 << 20   // a message from here on is one that Large reports
	ownBuffer   = 64 << 10  // a message above this is read into memory of its own, which decoded bytes then share
	writevFrom  = 32 << 10  // bytes from here on are written from where they are

	// maxFrameBody is the largest body whatever a config says: a frame's length has 32 bits, and an int may have no more.
	maxFrameBody = min(math.MaxUint32, math.MaxInt) - envelope - 4
)

// Conn reads and writes messages on a byte stream. It knows nothing of processes: any io.ReadWriter will do. One
// goroutine may read while another writes. Write makes one call of the stream's Write, or a writev for large
// byte slices.
type Conn struct {
	rw   io.ReadWriter
	kind Kind

	in       []byte // read and not yet parsed is in[from:to]
	from, to int
	maxIn    int64
	scan     jsonScanner // where the search for the JSON message's end has come to

	out    []byte
	maxOut int64

	large atomic.Bool // see Large

	received, sent uint64 // bytes; see Traffic

	begun bool // the stream's first byte was written, or read
	first bool // this side writes it
}

// NewClientConn returns the app's side of a connection. maxMessage limits the bodies it takes, in bytes; 0 means
// DefaultMaxMessage. It also limits what it sends until SetMaxOut tells what the other side takes.
func NewClientConn(rw io.ReadWriter, kind Kind, maxMessage int64) *Conn {
	c := newConn(rw, kind, maxMessage)
	c.first = true
	return c
}

// NewWorkerConn returns the worker's side of a connection. See NewClientConn.
func NewWorkerConn(rw io.ReadWriter, kind Kind, maxMessage int64) *Conn {
	return newConn(rw, kind, maxMessage)
}

func newConn(rw io.ReadWriter, kind Kind, maxMessage int64) *Conn {
	if maxMessage <= 0 {
		maxMessage = DefaultMaxMessage
	}
	maxMessage = min(maxMessage, maxFrameBody)
	return &Conn{rw: rw, kind: kind, maxIn: maxMessage, maxOut: maxMessage, in: make([]byte, firstBuffer)}
}

// KindOf tells the wire by the first byte that a client sent. ok is false if no wire begins with it.
func KindOf(first byte) (kind Kind, ok bool) {
	switch first {
	case FirstByte:
		return Binary, true
	case '[', '\n', '\r', '\t', ' ':
		return JSON, true
	}
	return 0, false
}

// Kind returns the connection's wire.
func (c *Conn) Kind() Kind { return c.kind }

// SetMaxOut sets the largest body that the other side takes, in bytes. 0 changes nothing.
func (c *Conn) SetMaxOut(n int64) {
	if n > 0 {
		c.maxOut = min(n, maxFrameBody)
	}
}

// Switch continues the connection on another stream. What was read from the old one and not yet parsed is lost: see Buffered.
// No Read or Write may be running.
func (c *Conn) Switch(rw io.ReadWriter) {
	c.rw, c.from, c.to = rw, 0, 0
}

// Buffered returns how many bytes were read from the stream and not yet parsed.
func (c *Conn) Buffered() int { return c.to - c.from }

// Traffic returns how many bytes were read from the stream, and how many Write was to write. No Read or Write may be running.
func (c *Conn) Traffic() (received, sent uint64) { return c.received, c.sent }

// Large reports whether a message of 1 MiB or more was read or written since it was last asked. Whoever wants to give memory
// back has a reason then.
func (c *Conn) Large() bool { return c.large.Load() && c.large.Swap(false) }

// Write sends m. A *CodecError means that m can't be encoded or is too large, and nothing of it was sent; any
// other error is the stream's, and the connection is of no more use.
func (c *Conn) Write(m *Message) error {
	buf := c.out[:0]
	if c.first && !c.begun {
		buf = append(buf, c.opening())
	}
	var tail []byte
	var err error
	if c.kind == JSON {
		buf, err = appendJSONMessage(buf, m, c.maxOut)
	} else {
		buf, tail, err = appendFrame(buf, m, c.maxOut)
	}
	if cap(buf) <= keepBuffer {
		c.out = buf[:0]
	}
	if err != nil {
		return &CodecError{Op: "encode", What: m.what(), Err: err}
	}
	if c.first { // a worker's Write leaves begun alone: a Read may be running
		c.begun = true
	}
	if len(buf)+len(tail) >= large {
		c.large.Store(true)
	}
	if len(buf) == 0 { // a message that this wire doesn't have
		return nil
	}
	c.sent += uint64(len(buf) + len(tail))
	if tail == nil {
		_, err = c.rw.Write(buf)
		return err
	}
	bufs := net.Buffers{buf, tail}
	_, err = bufs.WriteTo(c.rw)
	return err
}

// opening is the byte that a client's stream begins with. The JSON client's newline tells a server that waits for
// a first byte that somebody means business.
func (c *Conn) opening() byte {
	if c.kind == JSON {
		return '\n'
	}
	return FirstByte
}

// Open sends a client's first byte on its own. Only the JSON wire needs it: there the first message may come
// hours after the connection.
func (c *Conn) Open() error {
	if c.begun || !c.first {
		return nil
	}
	c.begun = true
	_, err := c.rw.Write([]byte{c.opening()})
	return err
}
