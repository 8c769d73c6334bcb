//go:build linux || darwin

package forkserver

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/wire"
)

// conn is a connection to a worker. It implements wire.Lifeline.
type conn struct {
	net.Conn
	in *instance
	id uint64

	ahead bool // nobody uses it yet; the instance's mu guards it

	exit chan struct{} // closed when how is set, under mu

	mu      sync.Mutex // guards all below
	how     *wire.Exit
	wanted  bool   // back: the worker has ended, or the server shuts down
	retired func() // OnRetire's function, until it is called
	overdue *time.Timer
}

var _ wire.Lifeline = (*conn)(nil)

// endsWithin is how long a worker may live on after its client has closed, beside the grace of the handler that it runs.
const endsWithin = 2 * time.Second

// Close implements net.Conn. A worker ends by itself then. One that doesn't, because it is stopped or stuck, is killed.
func (c *conn) Close() error {
	c.mu.Lock()
	if c.how == nil && c.overdue == nil {
		grace := max(c.in.p.config.Limits.CancelGrace, 100*time.Millisecond)
		c.overdue = time.AfterFunc(grace+endsWithin, func() { c.Kill("it did not end when its client had closed the connection") })
	}
	c.mu.Unlock()
	return c.Conn.Close()
}

// NetConn returns the connection itself: to read and write there is the same.
func (c *conn) NetConn() net.Conn { return c.Conn }

// Served says that the worker has replied to a call: its server serves, whatever becomes of it before it can say so itself.
func (c *conn) Served() { c.in.serves() }

// Kill implements wire.Lifeline.
func (c *conn) Kill(detail string) {
	select {
	case <-c.exit:
	default: // a stopped server may not read, and who calls has no time to wait for it
		go c.in.ctl.Send(control.AppKill, control.Kill{ID: c.id, Detail: detail})
	}
}

// Exit implements wire.Lifeline.
func (c *conn) Exit(ctx context.Context) *wire.Exit {
	select {
	case <-c.exit:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.how // known or not
}

// OnRetire implements wire.Lifeline.
func (c *conn) OnRetire(f func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wanted {
		go f()
		return func() {}
	}
	c.retired = f
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.retired = nil
	}
}

// ended notes how the worker ended.
func (c *conn) ended(e *wire.Exit) {
	c.mu.Lock()
	first := c.how == nil
	if first {
		c.how = e
		close(c.exit)
	}
	if c.overdue != nil {
		c.overdue.Stop()
	}
	c.mu.Unlock()
	c.retire()
}

// retire tells the connection's user that it is wanted back.
func (c *conn) retire() {
	c.mu.Lock()
	f := c.retired
	c.wanted, c.retired = true, nil
	c.mu.Unlock()
	if f != nil {
		go f()
	}
}
