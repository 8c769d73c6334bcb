package wire

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unsafe"
)

// Read reads the next message into m. It returns io.EOF at the end of a stream between two messages,
// io.ErrUnexpectedEOF within one, a *ProtocolError for what is not a message, and the stream's own errors
// otherwise. After a timeout of the stream Read may be called again; nothing is lost.
//
// What m holds undecoded is valid until the next Read.
func (c *Conn) Read(m *Message) error {
	if c.kind == JSON {
		return c.readJSON(m)
	}
	if !c.first && !c.begun {
		if err := c.need(1); err != nil {
			return err
		}
		if c.in[c.from] != FirstByte {
			return violation("the stream begins with byte %#x instead of %#x", c.in[c.from], FirstByte)
		}
		c.from++
		c.begun = true
	}
	if err := c.need(4); err != nil {
		return err
	}
	size, err := frameSize(c.in[c.from:], c.maxIn)
	if err != nil {
		return err
	}
	if size > ownBuffer {
		err = c.needOwn(int(size))
	} else {
		err = c.need(int(size))
	}
	if err != nil {
		return err
	}
	frame := c.in[c.from : c.from+int(size) : c.from+int(size)]
	c.from += int(size)
	err = parseFrame(frame, m, c.maxIn)
	if size > ownBuffer {
		m.own = true
		c.give()
		if size >= large {
			c.large.Store(true)
		}
	}
	return err
}

// need reads until n bytes are buffered.
func (c *Conn) need(n int) error {
	if c.to-c.from >= n {
		return nil
	}
	if c.from == c.to {
		c.from, c.to = 0, 0
	}
	if c.from+n > len(c.in) {
		in := c.in
		if n > len(in) {
			in = make([]byte, max(n, min(2*len(in), int(c.maxIn+envelope))))
		}
		c.to = copy(in, c.in[c.from:c.to])
		c.in, c.from = in, 0
	}
	return c.fill(n)
}

// needOwn reads a large frame of n bytes into memory that nothing else uses.
func (c *Conn) needOwn(n int) error {
	if len(c.in)-c.from != n || c.from != 0 { // not begun by a Read that timed out
		own := unzeroed(n)
		have := c.to - c.from
		if have > n { // the frame is whole, and the next one has begun
			copy(own, c.in[c.from:])
			rest := append([]byte(nil), c.in[c.from+n:c.to]...)
			c.in, c.from, c.to = append(own, rest...), 0, have
			return nil
		}
		c.to = copy(own, c.in[c.from:c.to])
		c.in, c.from = own, 0
	}
	return c.fill(n)
}

// unzeroed returns n bytes that hold anything, for somebody who fills all of them. Zeros would cost a large message as much as
// a copy of it does. A strings.Builder leaves what it grows by as it is; if that should change, this is only slower.
func unzeroed(n int) []byte {
	var b strings.Builder
	b.Grow(n)
	b.WriteByte(0) // an empty string may point anywhere
	return unsafe.Slice(unsafe.StringData(b.String()), n)
}

// give hands a large frame's memory over to whoever decodes it, and begins a new buffer.
func (c *Conn) give() {
	rest := c.in[c.from:c.to]
	in := make([]byte, max(firstBuffer, len(rest)))
	c.to = copy(in, rest)
	c.in, c.from = in, 0
}

func (c *Conn) fill(n int) error {
	for c.to-c.from < n {
		k, err := c.rw.Read(c.in[c.to:])
		c.to += k
		c.received += uint64(k)
		if c.to-c.from >= n {
			return nil
		}
		if err != nil {
			if err == io.EOF && c.to > c.from {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		if k == 0 {
			return fmt.Errorf("bullpen: read from the connection: %w", io.ErrNoProgress)
		}
	}
	return nil
}

// readJSON reads the next JSON message.
func (c *Conn) readJSON(m *Message) error {
	limit := c.maxIn + envelope
	for {
		n, err := c.scan.find(c.in[c.from:c.to])
		if err != nil {
			return err
		}
		if n > 0 {
			return c.takeJSON(n, m)
		}
		if c.scan.at == 0 { // only space between messages
			c.from, c.to = 0, 0
		}
		have := c.to - c.from
		if int64(have) >= limit {
			return &ProtocolError{Message: fmt.Sprintf("a message of more than %d bytes", have), Err: ErrTooLarge}
		}
		if err := c.need(have + 1); err != nil {
			return err
		}
	}
}

// takeJSON parses the n bytes that are the next message.
func (c *Conn) takeJSON(n int, m *Message) error {
	text := c.in[c.from : c.from+n : c.from+n]
	c.from += n
	c.scan = jsonScanner{}
	if n >= large {
		c.large.Store(true)
	}
	if int64(n) > c.maxIn+envelope {
		return &ProtocolError{Message: fmt.Sprintf("a message of %d bytes", n), Err: ErrTooLarge}
	}
	// A large message keeps the buffer, unless that would mean to copy more than the message itself. The
	// buffer is also given up when it grew for a message and the next one doesn't need it.
	rest := c.to - c.from
	if n <= ownBuffer || rest > n {
		text = bytes.Clone(text)
	} else {
		c.give()
	}
	if len(c.in) > keepBuffer && rest <= firstBuffer {
		c.give()
	}
	if err := parseJSONMessage(text, m); err != nil {
		return err
	}
	if size := jsonBody(m.values); size > c.maxIn {
		return &ProtocolError{Message: fmt.Sprintf("a body of %d bytes", size), Err: ErrTooLarge}
	}
	return nil
}
