//go:build linux || darwin

package server

import (
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// How long a dead worker's pipes and link are waited for, if somebody holds them open. What they hold is there already.
const (
	drainFor  = 100 * time.Millisecond
	lingerFor = time.Second
)

// wait waits for the worker's end, and does what follows from it.
func (w *child) wait() {
	s := w.sup
	st := w.proc.Wait()
	s.board.Discharge(w.slotNo) // the pid is free
	if w.holdsConnection() {
		w.hasTaken() // now, as the client can't see the death while our copy of the connection is open
	}
	for _, p := range w.pipes { // a descendant that hid from its process group may hold them open
		p.SetReadDeadline(time.Now().Add(drainFor))
	}
	late := time.AfterFunc(lingerFor, func() { w.link.Close() })
	w.output.Wait()
	<-w.linked
	late.Stop()
	w.link.Close()
	w.closePipes()
	w.catchUp()
	e := w.exit(st)
	s.remove(w, e)
	s.board.Give(w.slotNo)
	s.killLeft(w.number)
	w.proc.Release()
	s.reap()
	s.event(WorkerEnded, w, e)
	s.logEnd(w, e)
	w.pass(e)
	s.reported()
}

// catchUp notes what a worker that is dead had no time to say: that it was ready, and has taken its connection.
func (w *child) catchUp() {
	if !w.holdsConnection() {
		return
	}
	w.mu.Lock()
	failed := w.reason == wire.ExitSetup
	w.mu.Unlock()
	if !failed {
		w.isReady()
	}
	w.hasTaken()
}

// holdsConnection reports whether the worker has taken its connection, though it may not have said so yet.
func (w *child) holdsConnection() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn != nil && w.slot.Taken()
}

// pass gives the dead worker's connection to another worker if it was never read, and reports the end otherwise.
func (w *child) pass(e *wire.Exit) {
	s := w.sup
	w.mu.Lock()
	w.dead = true
	conn, ready, took := w.conn, w.ready, w.took
	again := conn != nil && w.warm && !took && !conn.ahead()
	w.mu.Unlock()
	if again {
		_, again = conn.wanted()
	}
	switch {
	case conn == nil && !ready:
		s.spareFailed()
	case conn == nil: // a standby that was ready
		s.failed()
	case conn.ahead() && !took: // one that had its connection ahead
		s.failed()
		conn.end(e)
	case again:
		s.mu.Lock()
		next := s.takeStandby()
		s.mu.Unlock()
		s.place(conn, next)
	default:
		conn.end(e)
	}
	s.refill()
}
