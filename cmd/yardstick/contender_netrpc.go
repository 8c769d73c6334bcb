package main

import (
	"net"
	"net/rpc"
)

// Echo is the service of net/rpc.
type Echo struct{}

// String returns its argument.
func (Echo) String(in string, out *string) error {
	*out = in
	return nil
}

// Bytes returns its argument.
func (Echo) Bytes(in []byte, out *[]byte) error {
	*out = in
	return nil
}

func startNetRPC(workers int) (fleet, error) {
	return startRPC(workers, roleRPC, func(c net.Conn) caller { return netRPCCaller{rpc.NewClient(c), "Echo"} })
}

func serveNetRPC() {
	s := rpc.NewServer()
	if err := s.Register(Echo{}); err != nil {
		fail(err)
	}
	s.ServeConn(childConn())
}

type netRPCCaller struct {
	client  *rpc.Client
	service string
}

func (c netRPCCaller) echo(s string) (out string, err error) {
	err = c.client.Call(c.service+".String", s, &out)
	return out, err
}

func (c netRPCCaller) echoBytes(b []byte) (out []byte, err error) {
	err = c.client.Call(c.service+".Bytes", b, &out)
	return out, err
}

func (c netRPCCaller) close() {}
