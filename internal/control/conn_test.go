//go:build linux || darwin

package control_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/wire"
)

func TestMessagesArrive(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(*testing.T) (a, b *control.Conn){"polled": pair, "blocking": blockingPair} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := make(t)
			send(t, a, control.AppKill, control.Kill{ID: 7, Detail: "because"})
			if k := expect[control.Kill](t, b, control.AppKill); k.ID != 7 || k.Detail != "because" {
				t.Errorf("%+v", k)
			}
			send(t, b, control.ServerExit, control.Exit{ID: 8, Exit: wire.Exit{Pid: 3, Reason: wire.ExitHung}})
			if e := expect[control.Exit](t, a, control.ServerExit); e.ID != 8 || e.Exit.Pid != 3 || e.Exit.Reason != wire.ExitHung {
				t.Errorf("%+v", e)
			}
			send(t, a, control.AppClose, nil)
			if m, err := recv(t, b); err != nil || m.Type != control.AppClose {
				t.Errorf("%v, %v", m.Type, err)
			}
			a.Close()
			expectEOF(t, b)
		})
	}
}

func TestBytesArriveOneByOne(t *testing.T) {
	t.Parallel()
	c, raw := rawPair(t)
	text := encoded(t, control.ServerLog, control.Log{Message: "hello", Args: []string{"k", "v"}})
	go func() {
		for _, b := range bytes.Repeat(text, 3) {
			raw.Write([]byte{b})
		}
	}()
	for range 3 {
		if l := expect[control.Log](t, c, control.ServerLog); l.Message != "hello" || len(l.Args) != 2 {
			t.Errorf("%+v", l)
		}
	}
}

func TestSeveralMessagesInOnePiece(t *testing.T) {
	t.Parallel()
	c, raw := rawPair(t)
	var all []byte
	for i := range 500 { // more than the receiver's first buffer holds
		all = append(all, encoded(t, control.AppKill, control.Kill{ID: uint64(i), Detail: strings.Repeat("x", i)})...)
	}
	go raw.Write(all)
	for i := range 500 {
		if k := expect[control.Kill](t, c, control.AppKill); k.ID != uint64(i) || len(k.Detail) != i {
			t.Fatalf("message %d: %d, %d bytes", i, k.ID, len(k.Detail))
		}
	}
}

func TestLargeMessage(t *testing.T) {
	t.Parallel()
	a, b := blockingPair(t)
	text := strings.Repeat("0123456789", 1<<20)
	go a.Send(control.ServerLog, control.Log{Message: text})
	if l := expect[control.Log](t, b, control.ServerLog); l.Message != text {
		t.Errorf("%d bytes arrived", len(l.Message))
	}
	send(t, a, control.AppClose, nil)
	if m, err := recv(t, b); err != nil || m.Type != control.AppClose {
		t.Errorf("after it: %v, %v", m.Type, err)
	}
}

func TestEndWithinAMessage(t *testing.T) {
	t.Parallel()
	text := encoded(t, control.ServerLog, control.Log{Message: "hello"})
	for n := range text {
		c, raw := rawPair(t)
		raw.Write(text[:n])
		raw.Close()
		expectEOF(t, c)
	}
}

func TestOversizeIsRefused(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	if err := a.Send(control.ServerLog, make([]byte, 64<<20)); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("sending it: %v", err)
	}
	send(t, a, control.AppClose, nil) // nothing of it was sent
	if m, err := recv(t, b); err != nil || m.Type != control.AppClose {
		t.Errorf("%v, %v", m.Type, err)
	}
	for _, size := range []uint32{0, 64<<20 + 1, 1 << 31, 1<<32 - 1} {
		c, raw := rawPair(t)
		raw.Write(append(binary.BigEndian.AppendUint32(nil, size), make([]byte, 100)...))
		if _, err := recv(t, c); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a message of %d bytes: %v", size, err)
		}
	}
}

func TestWhatCannotBeEncodedIsNotSent(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	if err := a.Send(control.ServerLog, make(chan int)); err == nil {
		t.Error("a channel was sent")
	}
	send(t, a, control.AppClose, nil)
	if m, err := recv(t, b); err != nil || m.Type != control.AppClose {
		t.Errorf("%v, %v", m.Type, err)
	}
}

func TestGarbageInABody(t *testing.T) {
	t.Parallel()
	c, raw := rawPair(t)
	raw.Write([]byte{0, 0, 0, 4, byte(control.AppKill), 0xff, 0xff, 0xff})
	m, err := recv(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Decode(&control.Kill{}); err == nil {
		t.Error("it was decoded")
	}
}

func TestSeveralSenders(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	var senders sync.WaitGroup
	for i := range 8 {
		senders.Go(func() {
			for n := range 200 {
				a.Send(control.ServerLog, control.Log{Name: fmt.Sprint(i), Message: strings.Repeat("m", n)})
			}
		})
	}
	last := map[string]int{}
	for range 8 * 200 {
		l := expect[control.Log](t, b, control.ServerLog)
		if n, ok := last[l.Name]; ok && len(l.Message) != n+1 {
			t.Fatalf("sender %s: %d after %d", l.Name, len(l.Message), n)
		}
		last[l.Name] = len(l.Message)
	}
	senders.Wait()
}

// A worker waits for its connection by a blocking system call, and in Go's poller from then on.
func TestPollAfterBlocking(t *testing.T) {
	t.Parallel()
	a, b := blockingPair(t)
	f := tempFile(t, "passed")
	send(t, a, control.AppConn, control.Handover{ID: 1}, f)
	send(t, a, control.AppClose, nil) // in the buffer before the change
	expect[control.Handover](t, b, control.AppConn)
	if got := content(t, b.File("passed")); got != "passed" {
		t.Errorf("%q", got)
	}
	for range 2 {
		if err := b.Poll(); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := recv(t, b); err != nil || m.Type != control.AppClose {
		t.Errorf("%v, %v", m.Type, err)
	}
	send(t, b, control.WorkerReady, nil)
	if m, err := recv(t, a); err != nil || m.Type != control.WorkerReady {
		t.Errorf("%v, %v", m.Type, err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := b.Recv()
		ended <- err
	}()
	b.Close() // now wakes the receiver
	if err := <-ended; err == nil {
		t.Error("Recv returned a message after Close")
	}
}

func TestSendToADeadPeer(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(*testing.T) (a, b *control.Conn){"polled": pair, "blocking": blockingPair} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := make(t)
			a.Close()
			if err := b.Send(control.AppClose, nil); !errors.Is(err, unix.EPIPE) {
				t.Errorf("%v", err) // and not a signal
			}
		})
	}
}

// A peer that dies with something unread resets the connection. That is an end like any other.
func TestResetIsAnEnd(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(*testing.T) (a, b *control.Conn){"polled": pair, "blocking": blockingPair} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := make(t)
			send(t, b, control.AppClose, nil)
			a.Close()
			expectEOF(t, b)
		})
	}
}

func TestFromFileRefusesWhatIsNoUnixSocket(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := control.FromFile(r); err == nil {
		t.Error("a pipe was taken")
	}
	if _, err := control.FromFile(tempFile(t, "x")); err == nil {
		t.Error("a file was taken")
	}
}
