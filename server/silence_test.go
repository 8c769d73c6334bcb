//go:build linux

package server_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// A thousand clients that say nothing are borne, and no more. Who means business is served before and after them.
func TestThousandSilentClients(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{})
	address := s.serve(t, "unix")
	first := newPool(t, pool.Unix(address), pool.Config{})
	if _, err := getpid.Call(proctest.Limited(t), first); err != nil {
		t.Fatal(err)
	}
	var clients []net.Conn
	refused := proctest.NewFeed[net.Conn]()
	for range 1010 { // which of them are refused is chance
		c := dial(t, "unix", address)
		clients = append(clients, c)
		go func() {
			if n, err := c.Read(make([]byte, 1)); n == 0 && !errors.Is(err, os.ErrDeadlineExceeded) {
				refused.Add(c)
			}
		}()
	}
	proctest.Eventually(t, "ten are refused", func() bool { return len(refused.List()) == 10 })
	if _, err := getpid.Call(proctest.Limited(t), first); err != nil {
		t.Errorf("who was there before: %v", err)
	}
	if n := s.started(); n != 1 {
		t.Errorf("%d workers were started", n)
	}
	for _, c := range clients {
		c.Close()
	}
	if _, err := getpid.Call(proctest.Limited(t), newPool(t, pool.Unix(address), pool.Config{})); err != nil {
		t.Errorf("who comes after: %v", err)
	}
}

// A worker whose client doesn't read its answer is over its limit like one that works too long.
func TestClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{HungTimeout: 300 * time.Millisecond})
	client, exit, _ := serveConn(t, s)
	nc, err := net.FileConn(client)
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	defer nc.Close()
	conn := speak(t, nc)
	text := strings.Repeat("x", 10<<20)
	if err := conn.Write(&wire.Message{Type: wire.TypeDo, ID: 1, Method: "echo", Values: []any{text}}); err != nil {
		t.Fatal(err)
	}
	if e := receive(t, exit); e.Reason != wire.ExitHung {
		t.Errorf("%+v", e)
	}
	if n, err := io.Copy(io.Discard, nc); n >= int64(len(text)) {
		t.Errorf("all %d bytes had been written, %v", n, err)
	}
}

// Half a message, and then silence, costs a worker, and nobody else anything. When the client goes, it ends.
func TestHalfAMessage(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{})
	address := s.serve(t, "unix")
	for i, text := range []string{"\xb1\x00\x10", "\xb1\x00\x10\x00\x00\x02\x00\x00\x04echo", `["do",{},"echo","hal`} {
		c := dial(t, "unix", address)
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		proctest.Eventually(t, "it has a worker", func() bool { return s.started() == 2*i+1 })
		p := newPool(t, pool.Unix(address), pool.Config{})
		if got, err := echo.Call(proctest.Limited(t), p, "others"); err != nil || got != "others" {
			t.Errorf("%q, %v", got, err)
		}
		c.Close()
		p.Close()
		proctest.Eventually(t, "both workers have ended", func() bool { return len(proctest.InTree(s.mark)) == 0 })
	}
}
