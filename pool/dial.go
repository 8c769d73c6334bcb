package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// Dialer makes connections to workers, one worker a connection. *forkserver.Process is one, and Unix, TCP and Spread
// return others.
//
// A connection may also be a wire.Lifeline. A dialer may also have Name() string and MaxMessage() int64, which the pool
// takes as defaults. An error that wraps wire.ErrServerGone means that trying again is of no use.
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

// Spread returns a dialer that spreads a pool's workers over several servers: each new connection goes to the server
// with the fewest. A server that can't be reached is left out for a second, and one that has gone for good from then on.
func Spread(dialers ...Dialer) Dialer {
	s := &spread{}
	for _, d := range dialers {
		s.targets = append(s.targets, &target{Dialer: d})
	}
	return s
}

type spread struct {
	mu      sync.Mutex // guards the fields of all targets
	targets []*target
}

type target struct {
	Dialer
	conns int
	until time.Time // left out until then
	gone  error     // why it won't come back, or nil
}

const leaveOut = time.Second

func (s *spread) Dial(ctx context.Context) (net.Conn, error) { return s.DialWire(ctx, wire.Binary) }

func (s *spread) DialWire(ctx context.Context, kind wire.Kind) (net.Conn, error) {
	var errs []error
	for range s.targets {
		t := s.pick()
		if t == nil {
			break
		}
		c, err := dialWire(ctx, t.Dialer, kind)
		if err == nil {
			return newSpreadConn(s, t, c), nil
		}
		if !s.failed(t, err) {
			errs = append(errs, err)
		}
	}
	return nil, fmt.Errorf("bullpen: spread: %w", s.why(errs))
}

// failed leaves a target out. It reports whether that is for good.
func (s *spread) failed(t *target, err error) (gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.conns--
	t.until = time.Now().Add(leaveOut)
	if gone = errors.Is(err, wire.ErrServerGone); gone {
		t.gone = err
	}
	return gone
}

// why sums up why no target could be reached: errs, unless all have gone for good.
func (s *spread) why(errs []error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var gone []error
	for _, t := range s.targets {
		if t.gone != nil {
			gone = append(gone, t.gone)
		}
	}
	switch {
	case len(s.targets) == 0:
		return fmt.Errorf("%w: there was none", wire.ErrServerGone)
	case len(gone) == len(s.targets):
		return errors.Join(gone...)
	case errs == nil:
		return errors.New("no server can be reached at present")
	}
	return errors.Join(errs...)
}

// pick returns the target with the fewest connections, and counts one more for it.
func (s *spread) pick() *target {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var best *target
	for _, t := range s.targets {
		if t.gone != nil || t.until.After(now) {
			continue
		}
		if best == nil || t.conns < best.conns {
			best = t
		}
	}
	if best != nil {
		best.conns++
	}
	return best
}

// newSpreadConn counts the connection until it is closed. It stays a wire.Lifeline if it was one.
func newSpreadConn(s *spread, t *target, c net.Conn) net.Conn {
	sc := &spreadConn{Conn: c, closed: sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		t.conns--
	})}
	if l, ok := c.(wire.Lifeline); ok {
		return struct {
			*spreadConn
			wire.Lifeline
		}{sc, l}
	}
	return sc
}

type spreadConn struct {
	net.Conn
	closed func()
}

func (c *spreadConn) inner() net.Conn { return c.Conn }

func (c *spreadConn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

func (c *spreadConn) askExit(ctx context.Context, a wire.Ask) *wire.Exit {
	if nc, ok := c.Conn.(*netConn); ok {
		return nc.askExit(ctx, a)
	}
	return nil
}

func (c *spreadConn) Close() error {
	c.closed()
	return c.Conn.Close()
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
