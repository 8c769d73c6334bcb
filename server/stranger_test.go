//go:build linux

package server_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// isClosed waits until the server has closed the connection.
func isClosed(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := io.Copy(io.Discard, c); n > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the server says %d bytes, and then %v", n, err)
	}
}

func TestSilentClientCostsNoProcess(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"unix", "tcp"} {
		s := newServer(t, server.Limits{})
		address := s.serve(t, network)
		silent := make([]net.Conn, 20)
		for i := range silent {
			silent[i] = dial(t, network, address)
		}
		p := newPool(t, dialer(network, address), pool.Config{})
		if _, err := getpid.Call(proctest.Limited(t), p); err != nil { // accepted after them
			t.Fatal(err)
		}
		if n := s.started(); n != 1 {
			t.Errorf("%s: %d workers were started", network, n)
		}
		silent[3].Write([]byte("\n")) // it means business
		proctest.Eventually(t, "it gets a worker", func() bool { return s.started() == 2 })
		s.Close()
		for _, c := range silent {
			isClosed(t, c)
		}
	}
}

func TestGarbageIsRefused(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"unix", "tcp"} {
		s := newServer(t, server.Limits{})
		address := s.serve(t, network)
		for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01", "{}", "\x00", "\xff\xff\xff\xff", "\xb0", "\xb3"} {
			c := dial(t, network, address)
			if _, err := c.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			isClosed(t, c)
		}
		if n := s.started(); n != 0 {
			t.Errorf("%s: %d workers were started", network, n)
		}
		s.lines.Says(t, "a connection was refused: no message begins like this")
	}
}

// A client that begins well and goes on badly costs its worker, and nothing else.
func TestGarbageAfterAGoodBeginning(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{})
	address := s.serve(t, "unix")
	for _, text := range []string{
		"\xb1\xff\xff\xff\xff",                  // a frame of 4 GiB
		"\xb1\x00\x00\x00\x01\x00",              // one that is too short
		"\xb1GET / HTTP/1.1\r\n\r\n",            // a length of 1 GiB and more
		"\n\n\n{}\n",                            // JSON, but not a message
		"[" + strings.Repeat("[", 100_000),      // without end
		"[\"xx\",{}]\n",                         // no such message
		"\xb1" + strings.Repeat("\x00", 100),    // frames of nothing
		"[\"do\",{},\"echo\",\"\xff\xfe\xfd\"]", // not UTF-8
	} {
		c := dial(t, "unix", address)
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, c)
	}
	p := newPool(t, pool.Unix(address), pool.Config{})
	if got, err := echo.Call(proctest.Limited(t), p, "still there"); err != nil || got != "still there" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestMaxSilent(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{MaxSilent: 3})
	address := s.serve(t, "unix")
	refused := proctest.NewFeed[net.Conn]()
	var clients []net.Conn
	for range 5 {
		c := dial(t, "unix", address)
		clients = append(clients, c)
		go func() {
			if n, err := c.Read(make([]byte, 1)); n == 0 && err == io.EOF {
				refused.Add(c)
			}
		}()
	}
	proctest.Eventually(t, "two of five are refused", func() bool { return len(refused.List()) == 2 })
	s.lines.Says(t, "a connection was refused: too many clients")
	silent := slices.DeleteFunc(clients, func(c net.Conn) bool { return slices.Contains(refused.List(), c) })

	silent[0].Close() // makes room, and so does one who speaks
	p := newPool(t, pool.Unix(address), pool.Config{})
	proctest.Eventually(t, "there is room", func() bool {
		_, err := getpid.Call(proctest.Limited(t), p)
		return err == nil
	})
	if n := s.started(); n != 1 {
		t.Errorf("%d workers were started", n)
	}
	for _, c := range silent[1:] {
		c.Write([]byte("\n"))
	}
	proctest.Eventually(t, "they have workers", func() bool { return s.started() == 3 })
	for range 2 {
		dial(t, "unix", address)
	}
	if _, err := getpid.Call(proctest.Limited(t), newPool(t, pool.Unix(address), pool.Config{})); err != nil {
		t.Error(err)
	}
}

func init() {
	apps["stranger"] = func() { // tries to call a method
		c, err := net.Dial("unix", os.Getenv("SOCKET"))
		if err != nil {
			os.Stdout.WriteString("refused: " + err.Error() + "\n")
			return
		}
		c.Write([]byte("[\"do\",{},\"getpid\"]\n"))
		answer, _ := io.ReadAll(c) // it may be reset
		if len(answer) > 0 {
			os.Stdout.WriteString("answer: " + string(answer))
			return
		}
		os.Stdout.WriteString("closed\n")
	}
}

func TestAnotherUserIsRefused(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	dir, self := proctest.Program(t)
	s := newServer(t, server.Limits{})
	l, err := server.Listen(basic, "unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	stranger := func() *proctest.App {
		a := proctest.NewApp(self, "stranger", "SOCKET="+l.Addr().String())
		a.Dir = dir
		proctest.AsOrdinaryUser(a.Cmd)
		a.Launch(t)
		return a
	}
	if got := stranger().Says(t, "refused: "); !strings.Contains(got, "permission denied") {
		t.Errorf("by the socket's mode: %s", got)
	}
	if err := os.Chmod(l.Addr().String(), 0o666); err != nil { // by mistake
		t.Fatal(err)
	}
	a := stranger()
	<-a.Ended
	if got := a.Lines.List(); len(got) != 1 || got[0] != "closed" {
		t.Errorf("with the mode changed: %q", got)
	}
	if got := s.lines.Says(t, "a connection was refused"); !strings.Contains(got, "user 65534") {
		t.Errorf("the log says %s", got)
	}
	if n := s.started(); n != 0 {
		t.Errorf("%d workers were started", n)
	}
}

// speak begins a conversation on the binary wire.
func speak(t *testing.T, c net.Conn) *wire.Conn {
	t.Helper()
	conn := wire.NewClientConn(c, wire.Binary, 0)
	if err := conn.Write(&wire.Message{Type: wire.TypeHello, Hello: &wire.Hello{Version: wire.Version}}); err != nil {
		t.Fatal(err)
	}
	var m wire.Message
	if err := conn.Read(&m); err != nil || m.Type != wire.TypeHello {
		t.Fatalf("%v, %v", m.Type, err)
	}
	return conn
}

func call(t *testing.T, conn *wire.Conn, method string) {
	t.Helper()
	if err := conn.Write(&wire.Message{Type: wire.TypeDo, ID: 1, Method: method}); err != nil {
		t.Fatal(err)
	}
}

// A client that vanishes cancels the handler. If that doesn't return, its worker is ended.
func TestClientVanishes(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{CancelGrace: 50 * time.Millisecond})
	client, exit, _ := serveConn(t, s)
	nc, err := net.FileConn(client)
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	call(t, speak(t, nc), "wait")
	s.lines.Says(t, "waiting")
	nc.Close()
	s.lines.Says(t, "canceled")
	if e := receive(t, exit); e.Reason != wire.ExitRetired || e.Code != 0 {
		t.Errorf("%+v", e)
	}

	ours, theirs, err := control.Socketpair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	if _, err := s.ServeConn(server.Connection{File: theirs, OnExit: func(e *wire.Exit) { exit <- e }}); err != nil {
		t.Fatal(err)
	}
	if nc, err = net.FileConn(ours); err != nil {
		t.Fatal(err)
	}
	ours.Close()
	call(t, speak(t, nc), "block")
	s.lines.Says(t, "blocking")
	nc.Close()
	if e := receive(t, exit); e.Reason != wire.ExitCanceled || !strings.Contains(e.Detail, "client has gone") {
		t.Errorf("%+v", e)
	}
}
