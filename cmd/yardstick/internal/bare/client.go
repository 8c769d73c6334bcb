package bare

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Worker is a worker process and the connection to it. One goroutine may use it at a time.
type Worker struct {
	Pid     int
	conn    net.Conn
	control int // the socket that HandOver passes the connection over; -1 if there is none
	buf     []byte
}

func newWorker(pid, fd int, handOver bool) (*Worker, error) {
	w := &Worker{Pid: pid, control: -1, buf: make([]byte, 4<<10)}
	if handOver {
		w.control = fd
		return w, nil
	}
	var err error
	if w.conn, err = fileConn(fd); err != nil {
		w.reap()
		return nil, err
	}
	return w, nil
}

// fileConn puts a descriptor into Go's poller.
func fileConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	return net.FileConn(f)
}

// Ready waits until a worker with HandOver waits for its connection.
func (w *Worker) Ready() error {
	for {
		n, err := unix.Read(w.control, make([]byte, 1))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("read", err)
		case n == 0:
			return io.ErrUnexpectedEOF
		default:
			return nil
		}
	}
}

// HandOver makes a connection and passes its other end to the worker.
func (w *Worker) HandOver() error {
	ours, theirs, err := Socketpair()
	if err != nil {
		return err
	}
	defer unix.Close(theirs)
	if err := unix.Sendmsg(w.control, []byte{0}, unix.UnixRights(theirs), nil, 0); err != nil {
		unix.Close(ours)
		return fmt.Errorf("pass a connection: %w", err)
	}
	w.conn, err = fileConn(ours)
	return err
}

// Echo has the worker echo s.
func (w *Worker) Echo(s string) (string, error) {
	b := binary.BigEndian.AppendUint32(w.buf[:0], uint32(len(s)))
	if _, err := w.conn.Write(append(b, s...)); err != nil {
		return "", err
	}
	n, have, err := w.head()
	if err != nil {
		return "", err
	}
	if n > len(w.buf)-4 {
		return "", fmt.Errorf("a reply of %d bytes", n)
	}
	if have < n {
		_, err = io.ReadFull(w.conn, w.buf[4+have:4+n])
	}
	return string(w.buf[4 : 4+n]), err
}

// EchoBytes has the worker echo b. Reply and the worker's copy are memory that was allocated for them.
func (w *Worker) EchoBytes(b []byte) ([]byte, error) {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	bufs := net.Buffers{head, b}
	if _, err := bufs.WriteTo(w.conn); err != nil {
		return nil, err
	}
	n, have, err := w.head()
	if err != nil {
		return nil, err
	}
	reply := make([]byte, n)
	copy(reply, w.buf[4:4+have])
	_, err = io.ReadFull(w.conn, reply[have:])
	return reply, err
}

// head reads a reply's first bytes into the buffer. It returns the reply's length and how much of it is there, behind
// the four bytes of the length.
func (w *Worker) head() (n, have int, err error) {
	for have < 4 {
		k, err := w.conn.Read(w.buf[have:])
		if err != nil {
			return 0, 0, err
		}
		have += k
	}
	return int(binary.BigEndian.Uint32(w.buf)), have - 4, nil
}

// Close closes the connection, which ends the worker, and reaps it.
func (w *Worker) Close() {
	if w.conn != nil {
		w.conn.Close()
	}
	if w.control >= 0 {
		unix.Close(w.control)
	}
	w.reap()
}

func (w *Worker) reap() {
	for {
		_, err := syscall.Wait4(w.Pid, nil, 0, nil)
		if err != syscall.EINTR {
			return
		}
	}
}
