package lane

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Bell is how an end sleeps and is woken: mostly one byte on a socket.
type Bell interface {
	// Ring wakes the peer. It doesn't wait: a socket that is full has rung already. An error means that there is no peer
	// any more.
	Ring() error
	// Wait returns nil when the peer has rung since Wait last returned nil, be it before this call, and an error when the
	// wait is over for another reason: a deadline, the end of the stream. It may be called again after an error.
	Wait() error
}

// End is one side of the lane. One goroutine may read while another one writes.
type End struct {
	mem  *Memory
	bell Bell
	in   source
	out  sink
	look look
	mark uint64 // how much was written when the last call began

	rang   atomic.Bool   // by Write, since Read last asked
	behind atomic.Int64  // what the peer had still to read after the last large Write, until Read asks
	rings  atomic.Uint64 // see Counters

	wakes   atomic.Uint32 // how many waits for the bell have ended; added to under mu
	mu      sync.Mutex    // guards waiting. Never held while somebody waits for the bell.
	waiting bool          // somebody does
	ended   sync.Cond     // of mu: a wait has ended
}

// NewApp returns the app's end. now is the clock by which it is told of calls, in nanoseconds; it is not asked for by a call
// that is answered at once. All ends that have the same clock share net, which has to be told of them: see Network. A memory has
// one end in each process.
func NewApp(m *Memory, bell Bell, now func() int64, net *Network) *End {
	p, toWorker, toApp := m.parts()
	e := newEnd(m, bell, &p.app, &p.worker, toWorker, toApp)
	e.look.init(now, &p.app.look, net)
	return e
}

// NewWorker returns the worker's end.
func NewWorker(m *Memory, bell Bell) *End {
	p, toWorker, toApp := m.parts()
	e := newEnd(m, bell, &p.worker, &p.app, toApp, toWorker)
	e.look.init(ownClock, &p.app.look, nil)
	return e
}

func newEnd(m *Memory, bell Bell, own, peer *words, out, in []byte) *End {
	e := &End{mem: m, bell: bell,
		in:  source{ring: in, sharedHead: &own.head, asleep: &own.asleep, sharedTail: &peer.tail, full: &peer.full},
		out: sink{ring: out, sharedTail: &own.tail, full: &own.full, sharedHead: &peer.head, asleep: &peer.asleep}}
	e.ended.L = &e.mu
	return e
}

// Read reads what there is, and waits if there is nothing. It returns the error of the bell's Wait if that ends the wait; a
// later Read goes on, and nothing is lost.
func (e *End) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	ok, err := e.in.ready()
	if !ok {
		if err == nil {
			err = e.awaitBytes()
		}
		if err != nil {
			return 0, e.failed(err)
		}
	}
	n, ring := e.in.take(p)
	if e.mem.closed.Load() { // perhaps while they were copied
		return 0, ErrClosed
	}
	if ring {
		e.ring() // if nobody is there to hear it, the next wait finds out
	}
	return n, nil
}

// Write writes all of p, and waits for room if need be. If it returns an error, it has written the number of bytes that it
// returns, and a later Write may go on with the others.
func (e *End) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		ok, err := e.out.ready()
		if !ok && err == nil {
			err = e.awaitRoom()
		}
		if err != nil {
			return done, e.failed(err)
		}
		if e.mem.closed.Load() {
			return done, ErrClosed
		}
		n, ring := e.out.put(p[done:])
		done += n
		if ring {
			e.rang.Store(true)
			if err := e.ring(); err != nil {
				return done, err
			}
		}
	}
	if done >= len(e.out.ring)/4 {
		e.behind.Store(int64(e.out.unread()))
	}
	runtime.KeepAlive(e)
	return done, nil
}

// Close closes the memory; see there.
func (e *End) Close() error { return e.mem.Close() }

// failed returns what to tell the caller of err: Close makes the words zeros, which look corrupt.
func (e *End) failed(err error) error {
	if e.mem.closed.Load() {
		return ErrClosed
	}
	return err
}

func (e *End) ring() error {
	e.rings.Add(1)
	return e.bell.Ring()
}

// awaitBytes looks for bytes for a while, and then sleeps until there are some.
func (e *End) awaitBytes() error {
	d, yield, large := e.look.forBytes(&e.in, &e.rang, &e.behind)
	if d > 0 {
		at, ok, err := e.look.until(d, yield, large, e.in.ready, &e.in.found)
		e.look.looked(at, ok)
		if ok || err != nil {
			return err
		}
	}
	err := e.sleep(e.in.asleep, e.in.ready)
	e.look.slept()
	return err
}

// awaitRoom does the same for room.
func (e *End) awaitRoom() error {
	d, yield := e.look.forRoom(&e.out)
	if d > 0 {
		if _, ok, err := e.look.until(d, yield, true, e.out.ready, &e.out.found); ok || err != nil {
			return err
		}
	}
	return e.sleep(e.out.full, e.out.ready)
}

// sleep waits for the bell until ready says that there is something to do. asleep is the word that tells the peer to ring.
func (e *End) sleep(asleep *atomic.Uint32, ready func() (bool, error)) error {
	for {
		if e.mem.closed.Load() {
			return ErrClosed
		}
		before := e.wakes.Load()
		asleep.Store(1)
		ok, err := ready()
		if ok || err != nil {
			asleep.Store(0)
			return err
		}
		rung := e.wait(before)
		asleep.Store(0)
		if ok, err = ready(); ok || err != nil {
			return err
		}
		if rung != nil {
			return rung
		}
	}
}

// wait waits for the bell, or for somebody else's wait to end: the bell was meant for either. before is what wakes was
// before this goroutine looked whether it has to wait.
func (e *End) wait(before uint32) error {
	e.mu.Lock()
	for e.waiting && e.wakes.Load() == before {
		e.ended.Wait()
	}
	if e.wakes.Load() != before {
		e.mu.Unlock()
		return nil
	}
	e.waiting = true
	e.mu.Unlock()

	err := e.bell.Wait()

	e.mu.Lock()
	e.waiting = false
	e.wakes.Add(1)
	e.mu.Unlock()
	e.ended.Broadcast()
	return err
}
