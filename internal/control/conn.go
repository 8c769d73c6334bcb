//go:build linux || darwin

// Package control carries messages and descriptors between the app and its server, and between the server and its
// workers, over a unix stream socket.
//
// A message is a length of four bytes (big endian, of what follows), a type, and a CBOR body. A message that passes
// descriptors sends them with its first byte, so they arrive no later than it does; the receiver queues them in order.
package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/wire"
)

const (
	header  = 5
	maxSize = 64 << 20 // of a message; setup data is the largest
	maxFDs  = 64       // in one message
)

// Conn is one end of a control socket. Any number of goroutines may send; one receives.
type Conn struct {
	sock sock

	sending sync.Mutex // one message at a time
	out     []byte

	in       []byte // received and not yet parsed is in[from:to]
	from, to int
	fds      []int // received and not yet claimed
}

// sock is a socket, waited for in Go's poller or by a blocking system call.
type sock interface {
	send(p, rights []byte) (n int, err error)
	recv(p, rights []byte) (n, rn int, err error)
	io.Closer
}

// Pair makes a socket pair: this process's end, waited for in Go's poller, and a file for a child.
func Pair() (*Conn, *os.File, error) {
	ours, theirs, err := Socketpair()
	if err != nil {
		return nil, nil, err
	}
	c, err := FromFile(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return c, theirs, nil
}

// Socketpair makes two connected stream sockets, closed on exec.
func Socketpair() (a, b *os.File, err error) {
	fds, err := socketpair()
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "socketpair"), os.NewFile(uintptr(fds[1]), "socketpair"), nil
}

// FromFile takes f over as a socket that is waited for in Go's poller.
func FromFile(f *os.File) (*Conn, error) {
	defer f.Close()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		nc.Close()
		return nil, fmt.Errorf("control socket: a %T instead of a unix socket", nc)
	}
	return &Conn{sock: polled{uc}}, nil
}

// Blocking takes the inherited descriptor fd over as a socket that is waited for by a blocking system call: its
// receiver holds a thread and is woken faster.
func Blocking(fd int) (*Conn, error) {
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return &Conn{sock: blocking(fd)}, nil
}

// Close closes the socket. A goroutine in Recv is woken only if the socket is waited for in Go's poller.
func (c *Conn) Close() error { return c.sock.Close() }

// Send sends a message. The files stay the caller's.
func (c *Conn) Send(t Type, body any, files ...*os.File) error {
	if len(files) > maxFDs {
		return fmt.Errorf("control message: %d descriptors: %w", len(files), wire.ErrTooLarge)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	b := append(c.out[:0], 0, 0, 0, 0, byte(t))
	if body != nil {
		enc, err := wire.Marshal(body)
		if err != nil {
			return err
		}
		b = append(b, enc...)
	}
	if len(b)-4 > maxSize {
		return fmt.Errorf("control message: %d bytes: %w", len(b)-4, wire.ErrTooLarge)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if cap(b) <= 64<<10 {
		c.out = b
	}
	for len(b) > 0 {
		n, err := c.sock.send(b, rights)
		if err != nil {
			return fmt.Errorf("control socket: %w", err)
		}
		b, rights = b[n:], nil
	}
	return nil
}

// Pending reports whether something has arrived that Recv would return without waiting, or nearly so. It is for a blocking
// socket; in Go's poller it reports false.
func (c *Conn) Pending() bool {
	if c.from < c.to {
		return true
	}
	b, ok := c.sock.(blocking)
	if !ok {
		return false
	}
	fds := []unix.PollFd{{Fd: int32(b), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}

// Await waits until there is something to read from fd, or a message or its end here, in a blocking system call. It reports
// whether it is a message. The connection must be a Blocking one.
func (c *Conn) Await(fd int) (message bool, err error) {
	b, ok := c.sock.(blocking)
	if !ok {
		return false, errors.New("control socket: it is not a blocking one")
	}
	if c.from < c.to {
		return true, nil
	}
	fds := []unix.PollFd{{Fd: int32(b), Events: unix.POLLIN}, {Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if _, err = unix.Poll(fds, -1); err != unix.EINTR {
			return fds[0].Revents != 0, err
		}
	}
}

// Message is a received message.
type Message struct {
	Type Type
	body []byte
}

// Decode decodes the message's body.
func (m Message) Decode(dst any) error { return wire.Unmarshal(m.body, dst) }

// Recv receives the next message. Its body is valid until the next Recv. It returns io.EOF when the other side has
// closed or died. After an error there is nothing more to receive, and descriptors that nobody claimed are closed.
func (c *Conn) Recv() (Message, error) {
	m, err := c.next()
	if err != nil {
		for f := c.File(""); f != nil; f = c.File("") {
			f.Close()
		}
	}
	return m, err
}

func (c *Conn) next() (Message, error) {
	if err := c.need(header); err != nil {
		return Message{}, err
	}
	size := binary.BigEndian.Uint32(c.in[c.from:])
	if size < 1 || size > maxSize {
		return Message{}, fmt.Errorf("control socket: a message of %d bytes", size)
	}
	if err := c.need(4 + int(size)); err != nil {
		return Message{}, err
	}
	m := c.in[c.from+4 : c.from+4+int(size)]
	c.from += 4 + int(size)
	return Message{Type: Type(m[0]), body: m[1:]}, nil
}

// File claims the oldest descriptor that was received, or returns nil if there is none.
func (c *Conn) File(name string) *os.File {
	fd, ok := c.Descriptor()
	if !ok {
		return nil
	}
	return os.NewFile(uintptr(fd), name)
}

// Descriptor is File for who wants no more than the descriptor.
func (c *Conn) Descriptor() (fd int, ok bool) {
	if len(c.fds) == 0 {
		return -1, false
	}
	fd = c.fds[0]
	c.fds = c.fds[1:]
	return fd, true
}

func (c *Conn) need(n int) error {
	if c.from == c.to {
		c.from, c.to = 0, 0
	}
	if c.from+n > len(c.in) {
		in := make([]byte, max(n, 4<<10))
		c.to = copy(in, c.in[c.from:c.to])
		c.in, c.from = in, 0
	}
	var rights []byte
	for c.to-c.from < n {
		if rights == nil {
			rights = make([]byte, unix.CmsgSpace(4*maxFDs))
		}
		k, rn, err := c.sock.recv(c.in[c.to:], rights)
		if err != nil {
			return err
		}
		if rn > 0 {
			if err := c.claim(rights[:rn]); err != nil {
				return err
			}
		}
		if k == 0 {
			return io.EOF
		}
		c.to += k
	}
	return nil
}

func (c *Conn) claim(rights []byte) error {
	msgs, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	for _, m := range msgs {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return fmt.Errorf("control socket: %w", err)
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd) // Linux has done it already, without a gap
		}
		c.fds = append(c.fds, fds...)
	}
	return nil
}

// polled waits in Go's poller.
type polled struct{ *net.UnixConn }

func (s polled) send(p, rights []byte) (int, error) {
	if rights == nil {
		return s.Write(p)
	}
	n, _, err := s.WriteMsgUnix(p, rights, nil)
	return n, err
}

func (s polled) recv(p, rights []byte) (n, rn int, err error) {
	n, rn, _, _, err = s.ReadMsgUnix(p, rights)
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
		return 0, 0, io.EOF
	}
	return n, rn, err
}

// blocking waits in the kernel.
type blocking int

func (s blocking) send(p, rights []byte) (int, error) {
	for {
		n, err := unix.SendmsgN(int(s), p, rights, nil, sendFlags)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func (s blocking) recv(p, rights []byte) (n, rn int, err error) {
	for {
		n, rn, _, _, err = unix.Recvmsg(int(s), p, rights, recvFlags)
		switch err {
		case unix.EINTR:
		case unix.ECONNRESET:
			return 0, 0, io.EOF
		default:
			return n, rn, err
		}
	}
}

func (s blocking) Close() error { return unix.Close(int(s)) }

// Poll changes a blocking socket into one that is waited for in Go's poller. No goroutine may be in Recv.
func (c *Conn) Poll() error {
	b, ok := c.sock.(blocking)
	if !ok {
		return nil
	}
	c.sending.Lock() // the descriptor is closed, and its number is soon another file's: nobody may send to it meanwhile
	defer c.sending.Unlock()
	p, err := FromFile(os.NewFile(uintptr(b), "control"))
	if err != nil {
		return err
	}
	c.sock = p.sock
	return nil
}
