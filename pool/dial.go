package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// Dialer makes connections to workers, one worker a connection. *forkserver.Process is one, and Unix, TCP and Spread
// return others.
//
// A connection may also be a wire.Lifeline. A dialer may also have Name() string, MaxMessage() int64 and Logger()
// hclog.Logger, which the pool takes as defaults, and MaxWorkers() int, above which Config.MaxWorkers is lowered to it. An
// error that wraps wire.ErrServerGone means that trying again is of no use.
type Dialer interface {
	Dial(ctx context.Context) (net.Conn, error)
}

// dialTimeout bounds one try to connect.
const dialTimeout = 10 * time.Second

// Unix returns a dialer for a server that listens on a unix path, which may start later.
func Unix(path string) Dialer { return &netDialer{network: "unix", address: path} }

// TCP returns a dialer for a server that listens on a TCP address. With a nil config the connection isn't encrypted,
// which servers take on loopback only.
func TCP(address string, config *tls.Config) Dialer {
	return &netDialer{network: "tcp", address: address, tls: config}
}

type netDialer struct {
	network, address string
	tls              *tls.Config
}

func (d *netDialer) Dial(ctx context.Context) (net.Conn, error) {
	c, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	return &netConn{c, d}, nil
}

func (d *netDialer) connect(ctx context.Context) (net.Conn, error) {
	nd := net.Dialer{Timeout: dialTimeout}
	if d.tls == nil {
		return nd.DialContext(ctx, d.network, d.address)
	}
	return (&tls.Dialer{NetDialer: &nd, Config: d.tls}).DialContext(ctx, d.network, d.address)
}

// netConn is a connection to a worker of another program's server, which can be asked how that worker ended.
type netConn struct {
	net.Conn
	d *netDialer
}

func (c *netConn) inner() net.Conn { return c.Conn }

// SyscallConn gives access to the descriptor, if there is one.
func (c *netConn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// hungUp reports whether the other side has closed a TCP connection, whatever is still to be read from it.
func (c *netConn) hungUp() bool {
	nc := c.Conn
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = raw.Control(func(fd uintptr) { closed = endOfStream(fd) })
	return closed || err != nil
}

// askExit asks the server how a worker ended, and returns nil if it can't be reached or doesn't know.
func (c *netConn) askExit(ctx context.Context, a wire.Ask) *wire.Exit {
	q, err := c.d.connect(ctx)
	if err != nil {
		return nil
	}
	defer q.Close()
	stop := context.AfterFunc(ctx, func() { q.Close() })
	defer stop()
	e, err := wire.AskExit(q, a)
	if err != nil {
		return nil
	}
	return e
}

// dialWire dials for a client of the given wire. Only a dialer that starts the worker itself wants to know which.
func dialWire(ctx context.Context, d Dialer, kind wire.Kind) (net.Conn, error) {
	if w, ok := d.(interface {
		DialWire(context.Context, wire.Kind) (net.Conn, error)
	}); ok {
		return w.DialWire(ctx, kind)
	}
	return d.Dial(ctx)
}
