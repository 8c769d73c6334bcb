package lane_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/lane"
	"github.com/bullpen-go/bullpen/internal/leaktest"
)

// roleVar names what a second process of this binary is to do. Its connection is descriptor 3, its memory 4.
const roleVar = "LANE_TEST_ROLE"

var roles = map[string]func(rw io.ReadWriter, sock *rawBell) error{
	"echo":   func(rw io.ReadWriter, _ *rawBell) error { return echo(rw) },
	"stream": func(rw io.ReadWriter, _ *rawBell) error { return stream(rw) },
	"serve":  func(rw io.ReadWriter, _ *rawBell) error { return serve(rw) },
	"gush":   func(rw io.ReadWriter, _ *rawBell) error { return gush(rw) },
	"deaf":   func(_ io.ReadWriter, sock *rawBell) error { return deaf(sock) },
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVar); role != "" {
		if err := play(role); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
			os.Stderr.WriteString(role + ": " + err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(leaktest.Main(m))
}

// play is what a second process does. Without a memory it uses the socket.
func play(role string) error {
	runtime.GOMAXPROCS(1)
	sock := &rawBell{fd: 3}
	if os.Getenv("LANE_TEST_MEMORY") == "" {
		return roles[role](sock, sock)
	}
	m, err := lane.Open(4)
	if err != nil {
		return err
	}
	unix.Close(4)
	return roles[role](lane.NewWorker(m, sock), sock)
}

// echo sends each message back. A message is its length in four bytes, and that many bytes. Large ones get memory of their
// own, like in package wire.
func echo(rw io.ReadWriter) error {
	var small [4 << 10]byte
	for {
		got, err := receive(rw, small[:])
		if err != nil {
			return err
		}
		if _, err := rw.Write(got); err != nil {
			return err
		}
	}
}

// receive returns the next message with its length. It is in buf, or in new memory if it doesn't fit.
func receive(r io.Reader, buf []byte) ([]byte, error) {
	n, err := io.ReadAtLeast(r, buf, 4)
	if err != nil {
		return nil, err
	}
	size := 4 + int(binary.LittleEndian.Uint32(buf))
	if size > len(buf) {
		buf = append(make([]byte, 0, size), buf[:n]...)
	}
	if n < size {
		_, err = io.ReadFull(r, buf[n:size])
	}
	return buf[:size], err
}

// message returns one of n bytes and its length.
func message(n int) []byte {
	m := make([]byte, 4+n)
	binary.LittleEndian.PutUint32(m, uint32(n))
	for i := range m[4:] {
		m[4+i] = byte(i)
	}
	return m
}

// serve is echo with a handler that takes as many ns as the message says first.
func serve(rw io.ReadWriter) error {
	var small [4 << 10]byte
	for {
		got, err := receive(rw, small[:])
		if err != nil {
			return err
		}
		if d := time.Duration(binary.LittleEndian.Uint32(got[4:])); d > 0 {
			for begin := time.Now(); time.Since(begin) < d; {
			}
		}
		if _, err := rw.Write(got); err != nil {
			return err
		}
	}
}

const streamed = 2 << 20

// stream sends a stream of random bytes in pieces of random sizes and checks the one that it gets, both at once.
func stream(rw io.ReadWriter) error { return exchange(rw, 2, 1) }

func exchange(rw io.ReadWriter, sends, gets uint64) error {
	sent := make(chan error, 1)
	go func() { sent <- send(rw, sends) }()
	err := check(rw, gets)
	return errors.Join(err, <-sent)
}

func send(w io.Writer, seed uint64) error {
	bytes, sizes := rand.NewChaCha8([32]byte{byte(seed)}), rand.New(rand.NewPCG(seed, 1))
	for left := streamed; left > 0; {
		p := make([]byte, min(left, 1+sizes.IntN(1<<sizes.IntN(20))))
		bytes.Read(p)
		n, err := w.Write(p)
		for again(err) {
			p = p[n:]
			left -= n
			n, err = w.Write(p)
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		left -= n
	}
	return nil
}

func check(r io.Reader, seed uint64) error {
	want, sizes := rand.NewChaCha8([32]byte{byte(seed)}), rand.New(rand.NewPCG(seed, 2))
	for left := streamed; left > 0; {
		p := make([]byte, min(left, 1+sizes.IntN(1<<sizes.IntN(20))))
		n, err := r.Read(p)
		if again(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		left -= n
		w := make([]byte, n)
		want.Read(w)
		if !bytes.Equal(p[:n], w) {
			return fmt.Errorf("%d bytes before the end of the stream there are others than were written", left)
		}
	}
	return nil
}

// again says that a read or write was interrupted, and is to go on.
func again(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// gush writes for as long as it can.
func gush(rw io.ReadWriter) error {
	p := make([]byte, 100)
	for {
		if _, err := rw.Write(p); err != nil {
			return err
		}
	}
}

// deaf reads the bell, but not the lane.
func deaf(sock *rawBell) error {
	for {
		if err := sock.Wait(); err != nil {
			return err
		}
	}
}
