//go:build linux || darwin

package server

import (
	"sync"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/wire"
)

// connection is a client's connection on its way to a worker, and then that worker's.
type connection struct {
	Connection

	mu     sync.Mutex // guards all below
	worker *child
	doomed string // kill came before there was a worker
	ended  bool
}

// give hands the connection to a worker that waits for one.
func (c *connection) give(w *child) bool {
	if !c.attach(w) {
		return false
	}
	if err := w.link.Send(control.WorkerServe, control.Serve{Wire: c.Wire}, c.File); err != nil {
		c.detach(w)
		return false
	}
	return true
}

// attach makes the connection w's.
func (c *connection) attach(w *child) bool {
	if !w.take(c) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.worker = w
	return true
}

func (c *connection) detach(w *child) {
	w.untake(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.worker = nil
}

// kill ends the connection's worker.
func (c *connection) kill(detail string) {
	c.mu.Lock()
	w := c.worker
	if w == nil {
		c.doomed = detail
	}
	c.mu.Unlock()
	if w != nil {
		w.kill(wire.ExitCanceled, detail)
	}
}

// wanted reports whether nobody has killed the connection before it got a worker.
func (c *connection) wanted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.doomed == ""
}

// end reports the end of the connection's worker, once.
func (c *connection) end(e *wire.Exit) {
	c.mu.Lock()
	first := !c.ended
	c.ended = true
	c.mu.Unlock()
	if !first {
		return
	}
	c.File.Close()
	if c.OnExit != nil {
		c.OnExit(e)
	}
}
