//go:build linux

package server_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

// TestSpreadOverTLS closes one of two servers that are reached over TLS. The pool notices that its idle connections have
// ended, which can't be seen in what they carry, before it sends a call on one.
func TestSpreadOverTLS(t *testing.T) {
	t.Parallel()
	start := func() (s *server.Server, address string) {
		l, err := server.Listen(guarded, "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s = &server.Server{Service: guarded}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		t.Cleanup(func() {
			s.Close()
			if err := <-served; !errors.Is(err, server.ErrServerClosed) {
				t.Error(err)
			}
		})
		return s, l.Addr().String()
	}
	one, address1 := start()
	_, address2 := start()
	config := client(ours()())
	p := newPool(t, pool.Spread(pool.TCP(address1, config), pool.TCP(address2, config)), pool.Config{MinWorkers: 4, MaxWorkers: 4})
	proctest.Eventually(t, "all workers are connected", func() bool { return p.Stat().Idle == 4 })
	for range 4 {
		if _, err := guardedPid.Call(proctest.Limited(t), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	proctest.Eventually(t, "the dead connections are found when they are wanted", func() bool {
		var held []*pool.Checkout
		for range 4 {
			co, err := p.Checkout(proctest.Limited(t))
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, co)
		}
		for _, co := range held {
			co.Release()
		}
		return p.Stat().Ends["died"] == 2
	})
	for range 20 {
		if _, err := guardedPid.Call(proctest.Limited(t), p); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.Stat().Ends["died"]; n != 2 {
		t.Errorf("%d workers have died instead of 2", n)
	}
}

// Clients that don't get on with their handshake are capped in number.
func TestTLSHandshakesAreCapped(t *testing.T) {
	t.Parallel()
	l, err := server.Listen(guarded, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server.Server{Service: guarded, Limits: server.Limits{MaxSilent: 2}}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-served })
	ended := make(chan net.Conn, 3)
	for range 3 {
		c := dial(t, "tcp", l.Addr().String())
		go func() {
			c.Read(make([]byte, 1))
			ended <- c
		}()
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("three clients are let in")
	}
	p := newPool(t, pool.TCP(l.Addr().String(), client(ours()())), pool.Config{})
	if _, err := guardedPid.Call(proctest.Limited(t), p); err != nil { // once the handshake's deadline has ended the two others
		t.Error(err)
	}
}
