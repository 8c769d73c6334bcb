//go:build linux || darwin

package server

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/wire"
)

// The server itself shakes hands with TLS clients and decrypts what they send, so that no worker is spent on a stranger,
// and a worker sees a socket like any other.

const handshakeTime = 10 * time.Second

// handshake proves that the client has a certificate, and returns the decrypted connection.
func handshake(c net.Conn, config *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
	defer cancel()
	tc := tls.Server(c, config)
	return tc, tc.HandshakeContext(ctx)
}

// relay has a worker serve one end of a socket pair, and copies between the other end and the client.
func (a *acceptor) relay(c *tls.Conn, first byte, kind wire.Kind) {
	ours, theirs, err := control.Socketpair()
	if err != nil {
		a.sup.logger.Error("a connection was lost", "error", err)
		return
	}
	plain, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		a.sup.logger.Error("a connection was lost", "error", err)
		return
	}
	defer plain.Close()
	if _, err := a.sup.serve(Connection{File: theirs, Wire: kind}); err != nil {
		return
	}
	var copies sync.WaitGroup
	copies.Go(func() {
		defer plain.Close()
		if _, err := plain.Write([]byte{first}); err == nil {
			io.Copy(plain, c)
		}
	})
	io.Copy(c, plain)
	c.Close()
	plain.Close()
	copies.Wait()
}

// firstByte reads the first byte of a decrypted connection.
func firstByte(c *tls.Conn) (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(c, b[:])
	return b[0], err
}

// descriptor returns a copy of the connection's descriptor for a worker.
func descriptor(c net.Conn) (*os.File, error) {
	f, ok := c.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, os.ErrInvalid
	}
	return f.File()
}
