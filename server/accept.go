//go:build linux || darwin

package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/wire"
)

// accept takes connections from l until the server is stopped.
func (s *Server) accept(l net.Listener) error {
	config, err := s.Service.tlsConfig()
	if err != nil {
		return fmt.Errorf("bullpen: %w", err)
	}
	a := &acceptor{sup: s.sup, tls: config, silent: map[net.Conn]struct{}{}}
	defer a.close()
	var pause time.Duration
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			go a.receive(c)
		case s.stopped() || errors.Is(err, net.ErrClosed):
			return ErrServerClosed
		default: // out of descriptors, most likely: without a pause this would spin
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.sup.logger.Error("accepting a connection failed", "error", err, "again in", pause)
			t := time.NewTimer(pause)
			select {
			case <-t.C:
			case <-s.sup.gone:
				return ErrServerClosed
			}
		}
	}
}

// acceptor waits for the first byte of each of a listener's connections: no process is spawned for a client that says
// nothing, or nothing sensible.
type acceptor struct {
	sup *supervisor
	tls *tls.Config // of TCP connections; nil: they aren't encrypted

	mu     sync.Mutex // guards all below
	silent map[net.Conn]struct{}
	closed bool
}

// add notes a connection that has said nothing yet. It fails when there are too many, or the listener is closed.
func (a *acceptor) add(c net.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	limit := a.sup.limits.MaxSilent
	if a.closed || limit > 0 && len(a.silent) >= limit {
		return false
	}
	a.silent[c] = struct{}{}
	return true
}

func (a *acceptor) remove(c net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.silent, c)
}

// close lets go of all clients that are silent still.
func (a *acceptor) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for c := range a.silent {
		c.Close()
	}
}

// receive has the connection served by a worker once its client has begun to speak.
func (a *acceptor) receive(c net.Conn) {
	defer c.Close()
	log := a.sup.logger
	if !a.add(c) {
		log.Warn("a connection was refused: too many clients are connected that have sent nothing", "limit", a.sup.limits.MaxSilent)
		return
	}
	heard := sync.OnceFunc(func() { a.remove(c) })
	defer heard()
	if err := checkPeer(c); err != nil {
		log.Warn("a connection was refused", "error", err)
		return
	}
	var tc *tls.Conn
	var first byte
	var err error
	if _, tcp := c.(*net.TCPConn); tcp && a.tls != nil {
		if tc, err = handshake(c, a.tls); err == nil {
			first, err = firstByte(tc)
		}
	} else {
		if tcp { // a stranger
			c.SetReadDeadline(time.Now().Add(strangerTime))
		}
		first, err = peek(c)
		c.SetReadDeadline(time.Time{})
	}
	if err != nil {
		log.Debug("a connection ended before its first message", "error", err)
		return
	}
	heard()
	kind, ok := wire.KindOf(first)
	switch {
	case first == wire.AskByte && tc == nil:
		a.sup.answer(c)
	case first == wire.AskByte:
		a.sup.answer(tc, first)
	case !ok:
		log.Warn("a connection was refused: no message begins like this", "first byte", first)
	case tc != nil:
		a.relay(tc, first, kind)
	default:
		f, err := descriptor(c)
		if err != nil {
			log.Error("a connection was lost: it can't be handed to a process", "error", err)
			return
		}
		a.sup.serve(Connection{File: f, Wire: kind})
	}
}

// strangerTime is how long a client may be silent at first of whom nothing is known: over TCP without TLS.
const strangerTime = time.Minute

// peek waits for the connection's first byte without taking it.
func peek(c net.Conn) (first byte, err error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("a %T has no descriptor", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var n int
	var b [1]byte
	rerr := raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	if err = errors.Join(rerr, err); err == nil && n == 0 {
		err = io.EOF
	}
	return b[0], err
}

// checkPeer refuses other users on a unix socket, whatever the socket's mode has become.
func checkPeer(c net.Conn) error {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return err
	}
	var uid int
	cerr := raw.Control(func(fd uintptr) { uid, err = peerUID(int(fd)) })
	if err = errors.Join(cerr, err); err != nil {
		return err
	}
	if uid != 0 && uid != os.Geteuid() {
		return fmt.Errorf("it comes from user %d, the server runs as %d", uid, os.Geteuid())
	}
	return nil
}
