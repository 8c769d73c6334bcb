package pool

import (
	"net"
	"sync/atomic"

	"github.com/bullpen-go/bullpen/internal/lane"
	"github.com/bullpen-go/bullpen/wire"
)

// A lane is memory that a worker shares with the app, in which calls and replies go instead of through the socket. It is
// offered to a worker that is called in quick succession, or with large messages: to others it would be of no use, and costs
// memory. From then on the socket is the bell that wakes who sleeps, and tells that the other side is dead. Deadlines,
// cancellation and everything else above stream don't know of it.
//
// States of a worker's lane:
//
//	possible (both hellos have said so) → offered (enough calls) → used, or never (it could not be had)
type laneState struct {
	possible bool
	quick    int                      // calls in quick succession, less the others
	traffic  uint64                   // bytes to and from the worker up to the last call
	end      atomic.Pointer[lane.End] // for Stat
	left     atomic.Bool              // its memory was given back
}

const (
	quickGap   = 1000 * 1000 // ns from call to call
	quickCalls = 16
	largeCall  = 256 << 10 // bytes there and back
)

// network is shared by all lanes of the process.
var network lane.Network

// laneTotals sum up the lanes of a pool's former workers. The pool's mu guards them.
type laneTotals struct{ hits, misses uint64 }

// canLane reports whether the connection can be exchanged for shared memory: it goes to a process on this machine that this
// program has started.
func (w *worker) canLane() bool {
	if !lane.Supported || w.pool.config.SharedMemory <= 0 || w.life == nil || w.stream.visit.raw == nil {
		return false
	}
	_, unix := plain(w.nc).(*net.UnixConn)
	return unix
}

// wantsLane is asked before each call of a worker without a lane: it reports whether it is time to offer one.
func (w *worker) wantsLane(at instant) bool {
	l := &w.laneState
	if at-w.stream.sent < quickGap {
		l.quick++
	} else if l.quick > 0 {
		l.quick--
	}
	in, out := w.conn.Traffic()
	large := l.traffic != 0 && in+out-l.traffic >= largeCall
	l.traffic = in + out
	return large || l.quick >= quickCalls
}

// offerLane offers a lane, and waits for the answer. Without one, things go on as they are.
func (w *worker) offerLane() error {
	w.laneState.possible = false
	m, err := lane.Create(ringSize(w.pool.config.SharedMemory))
	if err != nil {
		w.pool.config.Logger.Debug("no memory can be shared with a worker", "pool", w.pool.config.Name, "pid", w.pid(), "error", err)
		return nil
	}
	taken, err := w.exchange(m)
	m.CloseFile()
	w.stream.writing, w.stream.begun = true, false // the call itself
	if !taken {
		m.Close()
		return err
	}
	w.stream.lane = lane.NewApp(m, &w.stream, func() int64 { return int64(now()) }, &network)
	network.Enter()
	w.laneState.end.Store(w.stream.lane)
	w.conn.Switch(&w.stream)
	return nil
}

// exchange sends the offer, and reports whether the worker takes it. A call whose context ends meanwhile is cancelled once it
// is sent.
func (w *worker) exchange(m *lane.Memory) (taken bool, err error) {
	s := &w.stream
	s.offering, s.visit.with = true, rightsOf(m.File())
	w.out = wire.Message{Type: wire.TypeLane}
	if err = w.conn.Write(&w.out); err == nil {
		err = w.conn.Read(&w.in)
	}
	s.offering, s.visit.with = false, nil // if it was not sent: the descriptor's number is another one's soon
	if err == nil && s.canceled {
		s.canceled = false
		s.nc.SetReadDeadline(longAgo)
	}
	if err == nil && w.in.Type != wire.TypeLane {
		err = &wire.ProtocolError{Message: "the worker answered a lane with " + w.in.Type.String()}
	}
	return err == nil && w.in.ID != 0, err
}

// closeLane gives the memory back.
func (w *worker) closeLane() {
	if end := w.laneState.end.Load(); end != nil && !w.laneState.left.Swap(true) {
		end.Close()
		network.Leave()
	}
}

// ringSize returns how large each of the two rings may be.
func ringSize(memory int) int {
	ring := lane.MinRing
	for 4*ring <= memory && 2*ring <= lane.MaxRing {
		ring *= 2
	}
	return ring
}

// lanes returns how many workers use a lane, and how often the app has looked, and looked in vain. The caller holds mu.
func (p *Pool) lanes() (n int, looks, misses int64) {
	t := p.formerLanes
	for w := range p.workers {
		if end := w.laneState.end.Load(); end != nil {
			n++
			c := end.Counters()
			t.hits += c.Hits
			t.misses += c.Misses
		}
	}
	return n, int64(t.hits + t.misses), int64(t.misses)
}
