package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// Spread returns a dialer that spreads a pool's workers over several servers: each new connection goes to the server
// with the fewest. A server that can't be reached is left out for a second, or for ten if it didn't even refuse; then one
// connection at a time tries it, until one succeeds. One that has gone for good is left out from then on.
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
	conns   int       // connected, or being connected
	until   time.Time // left out until then
	failing bool      // the last try has failed
	trying  int       // tries under way
	gone    error     // why it won't come back, or nil
}

const (
	leaveOut     = time.Second      // a server that could not be reached,
	leaveOutLong = 10 * time.Second // or that was silent for tryFor
	tryFor       = 2 * time.Second  // while there is another server to try
)

func (s *spread) Dial(ctx context.Context) (net.Conn, error) { return s.DialWire(ctx, wire.Binary) }

func (s *spread) DialWire(ctx context.Context, kind wire.Kind) (net.Conn, error) {
	var errs []error
	for n := range s.targets {
		t := s.pick()
		if t == nil {
			break
		}
		patience := tryFor
		if n == len(s.targets)-1 {
			patience = dialTimeout
		}
		c, err := t.dial(ctx, kind, patience)
		if err == nil {
			s.reached(t)
			return newSpreadConn(s, t, c), nil
		}
		if !s.failed(t, err) {
			errs = append(errs, err)
		}
	}
	return nil, fmt.Errorf("bullpen: spread: %w", s.why(errs))
}

// dial tries to connect, for no longer than patience.
func (t *target) dial(ctx context.Context, kind wire.Kind, patience time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return dialWire(ctx, t.Dialer, kind)
}

// reached notes that a target is there.
func (s *spread) reached(t *target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.trying--
	t.failing = false
}

// failed leaves a target out. It reports whether that is for good.
func (s *spread) failed(t *target, err error) (gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.conns--
	t.trying--
	t.failing = true
	t.until = time.Now().Add(leaveOut)
	if os.IsTimeout(err) || errors.Is(err, context.DeadlineExceeded) {
		t.until = time.Now().Add(leaveOutLong)
	}
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
		if t.gone != nil || t.until.After(now) || t.failing && t.trying > 0 {
			continue
		}
		if best == nil || t.conns < best.conns {
			best = t
		}
	}
	if best != nil {
		best.conns++
		best.trying++
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

func (c *spreadConn) hungUp() bool {
	nc, ok := c.Conn.(*netConn)
	return ok && nc.hungUp()
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
