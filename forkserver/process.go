package forkserver

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// Process is a server process of this program's own. It is a dialer for pool.New.
//
// States: running → shutting (Shutdown: no new connections) → closing (Close) → done. The server's death goes from any
// state to done.
type Process struct {
	svc       *server.Service
	config    Config
	setupData []byte
	logger    hclog.Logger
	listeners []net.Listener

	events sync.Mutex // one OnEvent at a time

	mu      sync.Mutex // guards all below
	cur     *instance
	ending  bool // Shutdown or Close was called
	err     error
	done    chan struct{}
	settled bool // done is closed
}

// live keeps every Process reachable until it has ended.
var live sync.Map // *Process → struct{}

// Name returns the service's name.
func (p *Process) Name() string { return p.svc.Name() }

// Pid returns the server's process id.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cur.pid()
}

// Done returns a channel that is closed when the server has ended and won't come back.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns nil while the server runs and after it was closed, and otherwise why it ended: an error that wraps
// wire.ErrServerGone.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// MaxMessage returns the largest body of a message, in bytes; a pool takes it over.
func (p *Process) MaxMessage() int64 { return p.config.Limits.MaxMessage }

// Dial returns a connection that a worker of the server will serve. The worker may still have to start; the
// connection can be written to at once. It also is a wire.Lifeline. After the server's end the error wraps
// wire.ErrServerGone.
func (p *Process) Dial(ctx context.Context) (net.Conn, error) { return p.DialWire(ctx, wire.Binary) }

// DialWire is Dial for a client that speaks the given wire.
func (p *Process) DialWire(ctx context.Context, kind wire.Kind) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	p.mu.Lock()
	in, ending, err := p.cur, p.ending, p.err
	p.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case ending:
		return nil, fmt.Errorf("the server of %q was closed: %w", p.svc.Name(), wire.ErrServerGone)
	}
	return in.dial(kind)
}

// Close ends the server and its workers now: handlers are cancelled, and what runs on after Limits.CancelGrace is
// killed. It returns when all are reaped, or after a few seconds with an error that names the pids that would not
// die. A second Close waits for the first. Close of a server that has died returns nil; Err tells why it died.
func (p *Process) Close() error {
	p.mu.Lock()
	in := p.cur
	p.ending = true
	p.mu.Unlock()
	p.closeListeners()
	return in.close()
}

// Shutdown ends the server once what its workers do has ended: no new connections are taken, idle ones are given back
// by their pools, and the others are when their checkout is released. When ctx ends first, it closes the server and
// returns the context's error.
func (p *Process) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	in := p.cur
	p.ending = true
	p.mu.Unlock()
	p.closeListeners()
	in.drain()
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
