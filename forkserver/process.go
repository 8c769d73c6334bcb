package forkserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// Process is a server process of this program's own. It is a dialer for pool.New.
//
// States: running ⇄ healing (the server has died, and a new one is on its way) → ending (Shutdown or Close) → done. From
// healing it goes to done when the servers die faster than they can serve.
type Process struct {
	svc       *server.Service
	config    Config
	setupData []byte
	logger    hclog.Logger
	listeners []net.Listener

	events sync.Mutex // one OnEvent at a time

	done       chan struct{} // closed when there will be no server any more
	closing    chan struct{} // closed by the first Shutdown or Close
	restarting chan struct{} // holds a token while Restart runs

	mu      sync.Mutex    // guards all below
	cur     *instance     // nil while healing
	drained []*instance   // replaced by Restart, and not yet dead
	changed chan struct{} // closed and replaced when cur changes
	breaker breaker
	ending  bool // Shutdown or Close was called
	err     error
	settled bool // done is closed
}

// live keeps every Process reachable until it has ended.
var live sync.Map // *Process → struct{}

// Name returns the service's name.
func (p *Process) Name() string { return p.svc.Name() }

// Pid returns the present server's process id, or 0 while there is none.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cur == nil {
		return 0
	}
	return p.cur.pid()
}

// Done returns a channel that is closed when the server has ended and won't come back.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns nil while there is a server, or a new one on its way, and after Close and Shutdown. Otherwise it tells why
// there is none: an error that wraps wire.ErrServerGone.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// MaxMessage returns the largest body of a message, in bytes; a pool takes it over.
func (p *Process) MaxMessage() int64 { return p.config.Limits.MaxMessage }

// Logger returns Config.Logger, or nil; a pool takes it over.
func (p *Process) Logger() hclog.Logger { return p.config.Logger }

// Dial returns a connection that a worker of the server will serve. The worker may still have to start; the
// connection can be written to at once. It also is a wire.Lifeline. While the server is being replaced, Dial waits for the
// new one. After the end of the Process the error wraps wire.ErrServerGone.
func (p *Process) Dial(ctx context.Context) (net.Conn, error) { return p.DialWire(ctx, wire.Binary) }

// DialWire is Dial for a client that speaks the given wire.
func (p *Process) DialWire(ctx context.Context, kind wire.Kind) (net.Conn, error) {
	for {
		in, err := p.instance(ctx)
		if err != nil {
			return nil, err
		}
		c, err := in.dial(kind)
		if !errors.Is(err, errReplaced) {
			return c, err
		}
	}
}

// Spare returns a connection to a standby that waits for it, and the largest message that its worker takes. It doesn't wait:
// without such a standby it returns nil. See Limits.Standby; where the server listens, only Dial returns standbys.
func (p *Process) Spare() (nc net.Conn, maxMessage int64) {
	p.mu.Lock()
	in := p.cur
	p.mu.Unlock()
	if in == nil {
		return nil, 0
	}
	return in.spare(), p.config.Limits.MaxMessage
}

// errReplaced says that an instance takes no connections any more, and another one does or will.
var errReplaced = errors.New("the server is being replaced")

// instance returns the present server, waiting for it if need be.
func (p *Process) instance(ctx context.Context) (*instance, error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		p.mu.Lock()
		in, ending, err, changed := p.cur, p.ending, p.err, p.changed
		p.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case ending:
			return nil, fmt.Errorf("the server of %q was closed: %w", p.svc.Name(), wire.ErrServerGone)
		case in != nil && !in.isGone():
			return in, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// serveBy makes in the present server.
func (p *Process) serveBy(in *instance) {
	p.mu.Lock()
	if p.cur != nil {
		p.drained = append(p.drained, p.cur)
	}
	p.cur = in
	in.answered = true
	ending := p.ending
	p.change()
	p.mu.Unlock()
	p.serverEvent(server.ServerStarted, in.pid(), nil)
	close(in.decided)
	go in.restock()
	if ending { // Close did not see it
		in.close()
	}
	select {
	case <-in.dead: // before it was the present one
		p.ended(in)
	default:
	}
}

// change wakes who waits for another server. The caller holds mu.
func (p *Process) change() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// ended notes that a server has ended.
func (p *Process) ended(in *instance) {
	p.mu.Lock()
	answered, current, ending := in.answered, p.cur == in, p.ending
	in.answered = false // once
	if current {
		p.cur = nil
		p.change()
	}
	p.drained = slices.DeleteFunc(p.drained, func(d *instance) bool { return d == in })
	p.mu.Unlock()
	if !answered {
		return
	}
	if in.err != nil {
		p.logger.Error("server ended", "service", p.svc.Name(), "pid", in.pid(), "error", in.err)
	}
	p.serverEvent(server.ServerEnded, in.pid(), in.err)
	switch {
	case !current: // replaced by Restart
	case ending:
		p.finish(nil)
	default:
		go p.heal(in.err)
	}
}

// end notes that the end is wanted, and returns the servers that are there.
func (p *Process) end() []*instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ending {
		p.ending = true
		close(p.closing)
		p.change()
	}
	all := slices.Clone(p.drained)
	if p.cur != nil {
		all = append(all, p.cur)
	}
	return all
}

// Close ends the server and its workers now: handlers are cancelled, and what runs on after Limits.CancelGrace is
// killed. It returns when all are reaped, or after a few seconds with an error that names the pids that would not
// die. A second Close waits for the first. Close of a Process without a server returns nil; Err tells why it has none.
func (p *Process) Close() error {
	all := p.end()
	p.closeListeners()
	var errs []error
	for _, in := range all {
		errs = append(errs, in.close())
	}
	if err := errors.Join(errs...); err != nil {
		return err // something does not die: don't wait for it
	}
	<-p.done
	return nil
}

// Shutdown ends the server once what its workers do has ended: no new connections are taken, idle ones are given back
// by their pools, and the others are when their checkout is released. When ctx ends first, it closes the server and
// returns the context's error.
func (p *Process) Shutdown(ctx context.Context) error {
	all := p.end()
	p.closeListeners()
	for _, in := range all {
		in.drain()
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.Close()
		return context.Cause(ctx)
	}
}

// finish notes the server's end.
func (p *Process) finish(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.settled {
		return
	}
	p.settled = true
	if !p.ending {
		p.err = err
	}
	live.Delete(p)
	close(p.done)
}

// event passes an event on.
func (p *Process) event(e server.Event) {
	if p.config.OnEvent == nil {
		return
	}
	p.events.Lock()
	defer p.events.Unlock()
	p.config.OnEvent(e)
}

// serverEvent makes an event of this side's own.
func (p *Process) serverEvent(t server.EventType, pid int, err error) {
	e := server.Event{Type: t, Time: time.Now(), Service: p.svc.Name(), Pid: pid}
	if err != nil {
		e.Err = err.Error()
	}
	p.event(e)
}
