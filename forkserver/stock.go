//go:build linux || darwin

package forkserver

import (
	"slices"
	"time"

	"github.com/bullpen-go/bullpen/internal/control"
)

// stock holds connections that were made before anybody wants one: each has a standby at its other end, which waits for the
// first byte. Who dials then gets one without a word to the server, which hears of it a moment later, as it does of the
// connection that is made in its place.
//
// A server that listens has its standbys without connections, as it doesn't know whether the app or a stranger comes first.
//
// States of a connection here: ordered → ready (ServerWarm) → taken; from ordered and ready also to gone, by its worker's
// end or the server's. The instance's mu guards it.
type stock struct {
	unused int     // ordered and ready
	ready  []*conn // the oldest first
	taken  []*conn // that the server has not heard of yet
	timer  *time.Timer
}

// ahead returns how many connections are made ahead.
func (p *Process) ahead() int {
	if len(p.listeners) > 0 {
		return 0
	}
	return max(p.config.Limits.Standby, 0)
}

// restockAfter keeps what a server does to replace a standby from holding up the call that took it.
const restockAfter = 5 * time.Millisecond

// take returns a connection that is ready, or nil.
func (s *stock) take(in *instance) *conn {
	if in.p.ahead() == 0 {
		return nil
	}
	defer in.restockSoon() // also if there is none: making one may have failed
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(s.ready) == 0 {
		return nil
	}
	c := s.ready[0]
	s.remove(c)
	s.taken = append(s.taken, c)
	return c
}

// remove takes an unused connection out, and reports whether it was one. The caller holds the instance's mu.
func (s *stock) remove(c *conn) bool {
	if !c.ahead {
		return false
	}
	c.ahead = false
	s.unused--
	if i := slices.Index(s.ready, c); i >= 0 {
		s.ready = slices.Delete(s.ready, i, i+1)
	}
	return true
}

// drop takes all unused connections out, and returns them. The caller holds the instance's mu.
func (s *stock) drop(in *instance) (unused []*conn) {
	for _, c := range in.conns {
		if s.remove(c) {
			unused = append(unused, c)
		}
	}
	return unused
}

// closeAll closes connections that nobody uses: their workers end.
func closeAll(conns []*conn) {
	for _, c := range conns {
		c.Close()
	}
}

// warm notes that the worker of a connection is ready.
func (in *instance) warm(id uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if c := in.conns[id]; c != nil && c.ahead {
		in.stock.ready = append(in.stock.ready, c)
	}
}

// restockSoon has the stock filled up a moment later.
func (in *instance) restockSoon() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stock.timer != nil || in.gone || in.asked {
		return
	}
	in.stock.timer = time.AfterFunc(restockAfter, func() {
		in.mu.Lock()
		in.stock.timer = nil
		in.mu.Unlock()
		in.restock()
	})
}

// restock tells the server what was taken, and orders more. What fails is tried again when the next connection is wanted.
func (in *instance) restock() {
	in.mu.Lock()
	taken := in.stock.taken
	in.stock.taken = nil
	in.mu.Unlock()
	for _, c := range taken {
		in.ctl.Send(control.AppClaim, control.Claim{ID: c.id})
	}
	for in.order() {
		if _, err := in.connect(control.Handover{Ahead: true}); err != nil {
			in.mu.Lock()
			in.stock.unused--
			in.mu.Unlock()
			return
		}
	}
}

// order makes room for one more connection, if one is missing.
func (in *instance) order() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stock.unused >= in.p.ahead() || in.gone || in.asked {
		return false
	}
	in.stock.unused++
	return true
}
