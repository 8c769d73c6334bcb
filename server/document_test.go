//go:build linux

package server_test

import (
	"bufio"
	"path/filepath"
	"testing"

	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// documented is a connection to a worker on which each message is as wire/PROTOCOL.md says.
type documented struct {
	*testing.T
	out *bufio.Writer
	c   *wire.Conn
}

// talkTo connects to a new server of the service, and has said what is given when it returns.
func talkTo(t *testing.T, s *server.Server, says ...wire.Message) documented {
	t.Helper()
	l, err := server.Listen(s.Service, "unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
	nc := dial(t, "unix", l.Addr().String())
	out := bufio.NewWriter(nc)
	d := documented{t, out, wire.NewClientConn(bufio.ReadWriter{Reader: bufio.NewReader(nc), Writer: out}, wire.Binary, 0)}
	d.say(says...)
	return d
}

// say sends messages in one go.
func (d documented) say(all ...wire.Message) {
	d.Helper()
	for _, m := range all {
		if err := d.c.Write(&m); err != nil {
			d.Fatal(err)
		}
	}
	if err := d.out.Flush(); err != nil {
		d.Fatal(err)
	}
}

// hears reads the next message, and checks its type and id.
func (d documented) hears(want wire.Type, id uint32) (m wire.Message) {
	d.Helper()
	if err := d.c.Read(&m); err != nil || m.Type != want || m.ID != id {
		d.Fatalf("%v %d (%v) instead of %v %d", m.Type, m.ID, err, want, id)
	}
	return m
}

// counts reads the reply to done_count.
func (d documented) counts(id uint32, want int) {
	d.Helper()
	m := d.hears(wire.TypeOK, id)
	var n int
	if err := m.Decode(&n); err != nil || n != want {
		d.Errorf("%d releases, %v, instead of %d", n, err, want)
	}
}

var (
	hello = wire.Message{Type: wire.TypeHello, Hello: &wire.Hello{Version: wire.Version}} // no key but the first
	dn    = wire.Message{Type: wire.TypeDn}
)

// Every dn runs the hook, an ack has no id, and a cancel of a call that doesn't run means nothing.
func TestReleasesAndLateCancels(t *testing.T) {
	t.Parallel()
	done := func(id uint32, last bool) wire.Message {
		return wire.Message{Type: wire.TypeDo, ID: id, Method: "done_count", Last: last}
	}
	cancel := wire.Message{Type: wire.TypeCancel, ID: 6}
	d := talkTo(t, &server.Server{Service: recorded}, hello)
	if m := d.hears(wire.TypeHello, 0); !m.Hello.Hook || m.Hello.Pid == 0 || m.Hello.Number != 1 {
		t.Errorf("%+v", m.Hello)
	}
	d.say(cancel, dn, dn)
	d.hears(wire.TypeAck, 0)
	d.hears(wire.TypeAck, 0)
	d.say(done(5, true))
	d.counts(5, 2)
	d.hears(wire.TypeAck, 0)
	d.say(done(6, false), dn, cancel, done(7, false)) // too early, and too late
	d.counts(6, 3)
	d.hears(wire.TypeAck, 0)
	d.counts(7, 4)
}

// A worker without a hook answers no dn, and a call of what it doesn't have with an error.
func TestUnknownMethodAndNoHook(t *testing.T) {
	t.Parallel()
	d := talkTo(t, &server.Server{Service: basic}, hello, dn,
		wire.Message{Type: wire.TypeDo, ID: 1, Method: "no method", Last: true}, wire.Message{Type: wire.TypeDo, ID: 2, Method: getpid.Name()})
	d.hears(wire.TypeHello, 0)
	if m := d.hears(wire.TypeEr, 1); m.Err.Code != server.CodeNoMethod {
		t.Errorf("%+v", m.Err)
	}
	d.hears(wire.TypeOK, 2)
}

// A worker whose setup has failed says who it is and why, and no more: a call that came along gets no reply.
func TestHelloOfAFailedSetup(t *testing.T) {
	t.Parallel()
	d := talkTo(t, &server.Server{Service: commands, SetupData: server.Command{Args: []string{"no-such-program"}}}, hello,
		wire.Message{Type: wire.TypeDo, ID: 1, Method: "echo"})
	m := d.hears(wire.TypeHello, 0)
	if h := m.Hello; h.Setup == nil || h.Setup.Message == "" || h.Pid == 0 || h.Number != 1 || h.Setup.Pid != h.Pid {
		t.Errorf("%+v, %+v", h, h.Setup)
	}
	if err := d.c.Read(&m); err == nil {
		t.Errorf("it goes on with %v", m.Type)
	}
}
