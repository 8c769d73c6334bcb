package server

import (
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// laner is a transport that can be exchanged for shared memory.
type laner interface {
	transport
	// Accept has the socket take a descriptor that comes with a message, until Lane.
	Accept()
	// Lane returns a transport over the memory whose descriptor has come, and this socket. An error leaves everything as it was.
	Lane() (sharer, error)
}

// closingTakes is less than a handler needs to close the connection, whatever it does.
const closingTakes = time.Microsecond

// sharer is a transport that can answer though its socket is gone.
type sharer interface {
	transport
	// Connected reports whether the socket is still there.
	Connected() bool
}

// severed reports whether a handler that has run for so long has closed the connection, as one that closes all descriptors
// does. Through shared memory it could still be answered for; but on the socket it can't, and a worker like that must not
// get another call.
func (w *worker) severed(run time.Duration) bool {
	return run >= closingTakes && w.shared != nil && !w.shared.Connected()
}

// offerLane answers the client's hello: it returns the layout that both sides can use, or 0.
func (w *worker) offerLane(layout uint8) uint8 {
	l, ok := w.sock.(laner)
	if !ok || layout != wire.LaneLayout {
		return 0
	}
	l.Accept()
	w.laneable = true
	return layout
}

// takeLane takes up the memory that the client has sent, or says that it can't be had. From its answer on both sides use it.
func (w *worker) takeLane() error {
	w.laneable = false
	if w.conn.Buffered() > 0 {
		return &wire.ProtocolError{Message: "the client did not wait for the answer to its lane"}
	}
	t, err := w.sock.(laner).Lane()
	answer := wire.Message{Type: wire.TypeLane, ID: 1}
	if err != nil {
		answer.ID = 0
	}
	if err := w.conn.Write(&answer); err != nil || t == nil {
		return err
	}
	w.sock, w.shared = t, t
	w.conn.Switch(t)
	return nil
}
