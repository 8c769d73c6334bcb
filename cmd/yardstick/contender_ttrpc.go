package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func startTTRPC(workers int) (fleet, error) {
	return startRPC(workers, roleTTRPC, func(c net.Conn) caller { return ttrpcCaller{ttrpc.NewClient(c)} })
}

func serveTTRPC() {
	s, err := ttrpc.NewServer()
	if err != nil {
		fail(err)
	}
	s.Register("echo", map[string]ttrpc.Method{
		"String": ttrpcEcho[wrapperspb.StringValue],
		"Bytes":  ttrpcEcho[wrapperspb.BytesValue],
	})
	err = s.Serve(context.Background(), newOneConn(childConn()))
	if err != nil && !errors.Is(err, io.EOF) {
		fail(err)
	}
}

func ttrpcEcho[T any](_ context.Context, unmarshal func(any) error) (any, error) {
	in := new(T)
	return in, unmarshal(in)
}

type ttrpcCaller struct{ client *ttrpc.Client }

func (c ttrpcCaller) echo(s string) (string, error) {
	out := new(wrapperspb.StringValue)
	err := c.client.Call(context.Background(), "echo", "String", wrapperspb.String(s), out)
	return out.Value, err
}

func (c ttrpcCaller) echoBytes(b []byte) ([]byte, error) {
	out := new(wrapperspb.BytesValue)
	err := c.client.Call(context.Background(), "echo", "Bytes", wrapperspb.Bytes(b), out)
	return out.Value, err
}

func (c ttrpcCaller) close() {}

// oneConn is a listener with one connection, whose end is the listener's.
type oneConn struct {
	conns chan net.Conn
	ended chan struct{}
	addr  net.Addr
}

func newOneConn(c net.Conn) *oneConn {
	l := &oneConn{conns: make(chan net.Conn, 1), ended: make(chan struct{}), addr: c.LocalAddr()}
	l.conns <- &endingConn{Conn: c, ended: sync.OnceFunc(func() { close(l.ended) })}
	return l
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, io.EOF
	}
}

func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return l.addr }

type endingConn struct {
	net.Conn
	ended func()
}

func (c *endingConn) Close() error {
	c.ended()
	return c.Conn.Close()
}
