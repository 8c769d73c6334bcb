//go:build linux || darwin

package control_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/internal/leaktest"
)

const patience = 10 * time.Second // no wait takes longer

// pair returns two connected ends, both waited for in Go's poller.
func pair(t *testing.T) (a, b *control.Conn) {
	t.Helper()
	a, f, err := control.Pair()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = control.FromFile(f); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// rawPair returns an end whose other side the test writes byte by byte.
func rawPair(t *testing.T) (*control.Conn, *net.UnixConn) {
	t.Helper()
	c, f, err := control.Pair()
	if err != nil {
		t.Fatal(err)
	}
	nc, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	return c, nc.(*net.UnixConn)
}

// blockingPair returns an end in Go's poller and one that is waited for by a blocking system call.
func blockingPair(t *testing.T) (a, b *control.Conn) {
	t.Helper()
	a, f, err := control.Pair()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = control.Blocking(fd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// encoded returns the bytes of a message.
func encoded(t *testing.T, typ control.Type, body any) []byte {
	t.Helper()
	c, nc := rawPair(t)
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(nc)
		got <- b
	}()
	send(t, c, typ, body)
	c.Close()
	return <-got
}

func send(t *testing.T, c *control.Conn, typ control.Type, body any, files ...*os.File) {
	t.Helper()
	if err := c.Send(typ, body, files...); err != nil {
		t.Fatal(err)
	}
}

// received is what a Recv on another goroutine returned.
type received struct {
	m   control.Message
	err error
}

// recv receives a message, for no longer than patience.
func recv(t *testing.T, c *control.Conn) (control.Message, error) {
	t.Helper()
	got := make(chan received, 1)
	go func() {
		m, err := c.Recv()
		got <- received{m, err}
	}()
	select {
	case r := <-got:
		return r.m, r.err
	case <-time.After(patience):
		t.Fatal("nothing was received")
		panic("unreachable")
	}
}

// expect receives a message of the type and decodes its body.
func expect[T any](t *testing.T, c *control.Conn, typ control.Type) (body T) {
	t.Helper()
	m, err := recv(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if m.Type != typ {
		t.Fatalf("message %d instead of %d", m.Type, typ)
	}
	if err := m.Decode(&body); err != nil {
		t.Fatal(err)
	}
	return body
}

func expectEOF(t *testing.T, c *control.Conn) {
	t.Helper()
	if _, err := recv(t, c); !errors.Is(err, io.EOF) {
		t.Fatalf("%v instead of the end", err)
	}
}

// tempFile returns an open file that holds the text.
func tempFile(t *testing.T, text string) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return f
}

// content reads what the file holds, from its beginning.
func content(t *testing.T, f *os.File) string {
	t.Helper()
	if f == nil {
		t.Fatal("no file came")
	}
	defer f.Close()
	b := make([]byte, 100)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestMain(m *testing.M) { os.Exit(leaktest.Main(m)) }
