//go:build linux || darwin

package server

import (
	"sync"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/wire"
)

// connection is a client's connection on its way to a worker, and then that worker's.
type connection struct {
	Connection

	warm func() // of a connection that was made ahead: called when its worker is ready. Nil for others

	mu      sync.Mutex // guards all below
	worker  *child
	claimed bool // somebody uses a connection that was made ahead
	killed  bool // its client wants no worker any more, for the reason why
	why     string
	ended   bool
}

// owner tells who has the worker, or will have it.
func (c *connection) owner() scoreboard.Owner {
	switch {
	case c.waiting():
		return scoreboard.Nobody
	case c.Retire != nil:
		return scoreboard.App
	}
	return scoreboard.Elsewhere
}

// ahead reports whether the connection was made ahead.
func (c *connection) ahead() bool { return c.warm != nil }

// waiting reports whether the connection was made ahead, and nobody uses it yet.
func (c *connection) waiting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ahead() && !c.claimed
}

// Claim implements Ahead.
func (c *connection) Claim() {
	c.mu.Lock()
	w, again := c.worker, c.claimed
	c.claimed = true
	c.mu.Unlock()
	if w != nil && !again {
		w.claimed(c)
	}
}

// Kill implements Ahead.
func (c *connection) Kill(detail string) { c.kill(detail) }

// give hands the connection to a worker that waits for one. It reports whether the worker has it, or had it when it
// died: then pass looks for another one.
func (c *connection) give(w *child) bool {
	if !c.attach(w) {
		return false
	}
	if err := w.link.Send(control.WorkerServe, control.Serve{Wire: c.Wire}, c.File); err != nil {
		return !w.untake(c)
	}
	w.handed()
	return true
}

// attach makes the connection w's. A kill that came before there was a worker gets it now.
func (c *connection) attach(w *child) bool {
	if !w.take(c) {
		return false
	}
	c.mu.Lock()
	c.worker = w
	killed, why := c.killed, c.why
	c.mu.Unlock()
	if killed {
		w.kill(wire.ExitCanceled, why)
	}
	return true
}

// kill ends the connection's worker, now or as soon as it has one.
func (c *connection) kill(detail string) {
	c.mu.Lock()
	w := c.worker
	c.killed, c.why = true, detail
	c.mu.Unlock()
	if w != nil {
		w.kill(wire.ExitCanceled, detail)
	}
}

// wanted reports whether the connection still wants a worker, and otherwise why not.
func (c *connection) wanted() (why string, wanted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why, !c.killed
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
