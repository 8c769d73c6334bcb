//go:build linux || darwin

package control_test

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/wire"
)

func TestDescriptorsArriveWithTheirMessage(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(*testing.T) (a, b *control.Conn){"polled": pair, "blocking": blockingPair} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := make(t)
			f := tempFile(t, "one")
			send(t, a, control.AppClose, nil)
			send(t, a, control.AppConn, control.Handover{ID: 1}, f)
			if _, err := f.Stat(); err != nil {
				t.Errorf("the sender's file: %v", err)
			}
			if m, err := recv(t, b); err != nil || m.Type != control.AppClose {
				t.Fatalf("%v, %v", m.Type, err)
			}
			expect[control.Handover](t, b, control.AppConn)
			got := b.File("got")
			if got == nil {
				t.Fatal("no descriptor came")
			}
			if flags, err := unix.FcntlInt(got.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("it is not closed on exec: %#x, %v", flags, err)
			}
			if text := content(t, got); text != "one" {
				t.Errorf("it holds %q", text)
			}
			if b.File("more") != nil {
				t.Error("a second descriptor came")
			}
		})
	}
}

func TestDescriptorsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	send(t, a, control.AppConn, control.Handover{ID: 1}, tempFile(t, "one"), tempFile(t, "two"))
	send(t, a, control.AppKill, control.Kill{ID: 1})
	send(t, a, control.AppConn, control.Handover{ID: 2}, tempFile(t, "three"))
	expect[control.Handover](t, b, control.AppConn)
	for _, want := range []string{"one", "two"} {
		if got := content(t, b.File(want)); got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
	expect[control.Kill](t, b, control.AppKill)
	expect[control.Handover](t, b, control.AppConn)
	if got := content(t, b.File("three")); got != "three" {
		t.Errorf("%q", got)
	}
}

func TestDescriptorsOfALargeMessage(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	go a.Send(control.ServerLog, control.Log{Message: string(make([]byte, 5<<20))}, tempFile(t, "large"))
	expect[control.Log](t, b, control.ServerLog)
	if got := content(t, b.File("large")); got != "large" {
		t.Errorf("%q", got)
	}
	if b.File("more") != nil {
		t.Error("it came twice")
	}
}

func TestManyDescriptors(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	f := tempFile(t, "same")
	files := make([]*os.File, 64)
	for i := range files {
		files[i] = f
	}
	send(t, a, control.AppConn, control.Handover{}, files...)
	expect[control.Handover](t, b, control.AppConn)
	for i := range files {
		if got := content(t, b.File("same")); got != "same" {
			t.Fatalf("descriptor %d: %q", i, got)
		}
	}
	if err := a.Send(control.AppConn, control.Handover{}, append(files, f)...); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("one more: %v", err)
	}
}

// A descriptor that nobody claims would keep a connection open whose client waits for its end.
func TestUnclaimedDescriptorsAreClosed(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	send(t, a, control.AppConn, control.Handover{ID: 1}, w)
	w.Close()
	expect[control.Handover](t, b, control.AppConn)
	a.Close()
	expectEOF(t, b)
	r.SetReadDeadline(time.Now().Add(patience))
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%v: the pipe is still open", err)
	}
}

func TestDescriptorsOfABrokenMessageAreClosed(t *testing.T) {
	t.Parallel()
	c, raw := rawPair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, _, err := raw.WriteMsgUnix(binary.BigEndian.AppendUint32(nil, 1<<31), unix.UnixRights(int(w.Fd())), nil); err != nil {
		t.Fatal(err)
	}
	raw.Write([]byte{0})
	w.Close()
	if _, err := recv(t, c); err == nil {
		t.Fatal("it was taken")
	}
	r.SetReadDeadline(time.Now().Add(patience))
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%v: the pipe is still open", err)
	}
}
