package pooltest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// faultConn is a connection to a worker on whose calls faults happen. It looks at what the pool writes, message by message,
// and passes on what has none.
//
// States: passing ⇄ slow (what is written waits in held, until the timer) ; passing → hung (what is written is dropped);
// any → over, by a crash, Kill, Close, or the worker's end.
type faultConn struct {
	net.Conn
	in   *Injector
	life wire.Lifeline // nil if the dialer's connection is none
	kind wire.Kind
	over chan struct{} // closed when the connection has ended
	once sync.Once     // closes over

	calls  reader // what the pool writes
	hellos reader // what the worker writes, up to its hello
	counts []int  // of calls, one for each fault

	mu      sync.Mutex   // guards all below
	replies bytes.Buffer // what the pool reads first
	held    []byte
	timer   *time.Timer // passes held on
	hung    bool
	who     wire.Hello // of the worker, once it is known
	how     *wire.Exit // of a crash
}

// reader makes messages of bytes that come by and by.
type reader struct {
	bytes []byte // what is still to be read
	conn  *wire.Conn
	seen  []byte // all of what the next message is part of
}

var errMore = errors.New("the message goes on")

func (r *reader) Read(p []byte) (int, error) {
	if len(r.bytes) == 0 {
		return 0, errMore
	}
	n := copy(p, r.bytes)
	r.bytes = r.bytes[n:]
	return n, nil
}

func (r *reader) Write(p []byte) (int, error) { return len(p), nil }

// next returns the next message and the bytes that it came in, or nil if it has not come yet.
func (r *reader) next() (*wire.Message, []byte, error) {
	m := new(wire.Message)
	err := r.conn.Read(m)
	switch {
	case errors.Is(err, errMore):
		return nil, nil, nil
	case err != nil:
		return nil, nil, err
	}
	n := len(r.seen) - len(r.bytes) - r.conn.Buffered()
	raw := r.seen[:n:n]
	r.seen = r.seen[n:]
	return m, raw, nil
}

// space returns what stands before the next message, if that has not begun: on the JSON wire a client's first byte, and
// what ends a line.
func (r *reader) space() []byte {
	space := r.seen
	if len(space) == 0 || len(bytes.TrimSpace(space)) > 0 || r.conn.Kind() != wire.JSON {
		return nil
	}
	r.seen = nil
	return space
}

func (r *reader) add(p []byte) {
	r.bytes = append(r.bytes, p...)
	r.seen = append(r.seen, p...)
}

const anySize = 2 << 30 // the ends check sizes

func newFaultConn(in *Injector, nc net.Conn, kind wire.Kind) *faultConn {
	c := &faultConn{Conn: nc, in: in, kind: kind, over: make(chan struct{}), counts: make([]int, len(in.faults))}
	c.life, _ = nc.(wire.Lifeline)
	c.calls.conn = wire.NewWorkerConn(&c.calls, kind, anySize)
	c.hellos.conn = wire.NewClientConn(&c.hellos, kind, anySize)
	return c
}

// Write takes what the pool writes.
func (c *faultConn) Write(p []byte) (int, error) {
	c.calls.add(p)
	for {
		m, raw, err := c.calls.next()
		switch {
		case err != nil: // the worker will say what is wrong with it
			return c.pass(p)
		case m == nil:
			if space := c.calls.space(); space != nil {
				_, err = c.pass(space)
			}
			return len(p), err
		}
		var f *Fault
		if m.Type == wire.TypeDo {
			f = c.in.fault(m.Method, c.counts)
		}
		if f == nil {
			_, err = c.pass(raw)
		} else {
			err = c.happen(f, m, raw)
		}
		if err != nil {
			return 0, err
		}
	}
}

// pass passes on what has no fault, after what was held before.
func (c *faultConn) pass(raw []byte) (int, error) {
	c.mu.Lock()
	hung, slow := c.hung || c.how != nil, c.timer != nil
	if slow {
		c.held = append(c.held, raw...)
	}
	c.mu.Unlock()
	if hung || slow {
		return len(raw), nil
	}
	return c.Conn.Write(raw)
}

// happen has f happen to the call m.
func (c *faultConn) happen(f *Fault, m *wire.Message, raw []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f.Kind {
	case Crash:
		c.how = &wire.Exit{Pid: c.who.Pid, Number: c.who.Number, Code: 2, Reason: wire.ExitCrashed,
			StderrHead: []byte("panic: a crash injected by pooltest\n")}
		c.end()
		c.Conn.Close()
		if c.life != nil {
			c.life.Kill("a crash injected by pooltest")
		}
	case Hang:
		c.hung = true
	case Slow:
		c.held = append(c.held, raw...)
		c.timer = time.AfterFunc(f.Delay, c.release)
	case Error:
		reply := wire.NewWorkerConn(&c.replies, c.kind, anySize)
		if err := reply.Write(&wire.Message{Type: wire.TypeEr, ID: m.ID, Method: m.Method, Err: f.Error}); err != nil {
			return err
		}
		if m.Last { // the worker is to hear of the release all the same
			var dn bytes.Buffer
			wire.NewWorkerConn(&dn, c.kind, anySize).Write(&wire.Message{Type: wire.TypeDn})
			_, err := c.Conn.Write(dn.Bytes())
			return err
		}
	}
	return nil
}

// release passes on what was held.
func (c *faultConn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = nil
	held := c.held
	c.held = nil
	c.Conn.Write(held) // an error shows in Read too
}

// Read reads what the worker writes, or the reply of a fault.
func (c *faultConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	n, _ := c.replies.Read(p)
	crashed := c.how != nil
	c.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	if crashed {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p)
	c.listen(p[:n])
	if errors.Is(err, io.EOF) {
		c.end()
	}
	return n, err
}

// listen looks for the worker's hello.
func (c *faultConn) listen(p []byte) {
	if c.hellos.conn == nil || c.kind == wire.JSON {
		return
	}
	c.hellos.add(p)
	m, _, err := c.hellos.next()
	if m == nil && err == nil {
		return
	}
	c.hellos = reader{}
	if m != nil && m.Type == wire.TypeHello {
		c.mu.Lock()
		c.who = *m.Hello
		c.mu.Unlock()
	}
}

func (c *faultConn) end() { c.once.Do(func() { close(c.over) }) }

// Close implements net.Conn.
func (c *faultConn) Close() error {
	c.mu.Lock()
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	c.end()
	return c.Conn.Close()
}

// Kill implements wire.Lifeline.
func (c *faultConn) Kill(detail string) {
	c.end()
	c.Conn.Close()
	if c.life != nil {
		c.life.Kill(detail)
	}
}

// Exit implements wire.Lifeline.
func (c *faultConn) Exit(ctx context.Context) *wire.Exit {
	c.mu.Lock()
	how, who := c.how, c.who
	c.mu.Unlock()
	switch {
	case how != nil:
		return how
	case c.life != nil:
		return c.life.Exit(ctx)
	}
	select {
	case <-c.over:
		return &wire.Exit{Pid: who.Pid, Number: who.Number, Code: -1}
	case <-ctx.Done():
		return nil
	}
}

// OnRetire implements wire.Lifeline.
func (c *faultConn) OnRetire(f func()) (stop func()) {
	if c.life != nil {
		return c.life.OnRetire(f)
	}
	return func() {} // it shows when the worker is called
}
