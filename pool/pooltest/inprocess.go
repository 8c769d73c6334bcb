package pooltest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/internal/notimeouts"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// Config says what the workers of InProcess are like. Its zero value is useful.
type Config struct {
	// SetupData is what server.SetupData returns in hooks and handlers. It is encoded, as forkserver.Config.SetupData is.
	// Nil means none.
	SetupData any
	// Workers is how many workers a pool may have at most, whatever its MaxWorkers. Default 1, so that handlers have the
	// package variables for themselves, as they have in processes. Negative: no limit.
	Workers int
	// CancelGrace and MaxMessage are those of server.Limits.
	CancelGrace time.Duration
	MaxMessage  int64
	// Logger gets what hooks log with server.Logger. What handlers log goes to the pool's logger, as always. Nil drops it.
	Logger hclog.Logger
}

// Dialer is a dialer for pool.New whose workers run in this process. It may be used by any number of pools and goroutines.
type Dialer struct {
	svc    *server.Service
	config Config
	data   []byte
	err    error // of the config

	mu      sync.Mutex // guards all below
	workers map[*server.InProcess]struct{}
	number  int
	closed  bool
}

// InProcess returns a dialer whose workers run the service's hooks and handlers in this process, each in a goroutine: Setup,
// SetupData, Logger, Meta, CheckoutDone, cancellation and panics do what they do in a process. Services that NewCommand has
// declared have no handlers and can't be used. Mistakes show at the first checkout, as an error that wraps
// pool.ErrServerGone.
func InProcess(s *server.Service, c Config) *Dialer {
	d := &Dialer{svc: s, config: c, workers: map[*server.InProcess]struct{}{}}
	if c.SetupData != nil {
		if d.data, d.err = wire.Marshal(c.SetupData); d.err != nil {
			d.err = fmt.Errorf("bullpen: pooltest.Config.SetupData: %w", d.err)
		}
	}
	return d
}

// Name returns the service's name, which a pool takes for its own. It is "" for a nil service.
func (d *Dialer) Name() string {
	if d.svc == nil {
		return ""
	}
	return d.svc.Name()
}

// MaxMessage returns the largest body of a message, in bytes; a pool takes it over.
func (d *Dialer) MaxMessage() int64 { return d.config.MaxMessage }

// MaxWorkers returns how many workers a pool may have. 0 is no limit.
func (d *Dialer) MaxWorkers() int {
	switch {
	case d.config.Workers == 0:
		return 1
	case d.config.Workers < 0:
		return 0
	}
	return d.config.Workers
}

// Dial makes a worker. The connection also is a wire.Lifeline.
func (d *Dialer) Dial(ctx context.Context) (net.Conn, error) { return d.DialWire(ctx, wire.Binary) }

// DialWire is Dial for a client that speaks the given wire.
func (d *Dialer) DialWire(_ context.Context, kind wire.Kind) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.err != nil:
		return nil, fmt.Errorf("%w: %w", wire.ErrServerGone, d.err)
	case d.closed:
		return nil, fmt.Errorf("the dialer of %q was closed: %w", d.Name(), wire.ErrServerGone)
	}
	client, theirs := newPipe()
	w, err := server.ServeInProcess(d.svc, theirs, server.InProcessConfig{Wire: kind, Number: d.number + 1, SetupData: d.data,
		Logger: d.config.Logger, Limits: server.Limits{CancelGrace: d.config.CancelGrace, MaxMessage: d.config.MaxMessage}})
	if err != nil { // trying again is of no use
		return nil, fmt.Errorf("%w: %w", wire.ErrServerGone, err)
	}
	d.number++
	d.workers[w] = struct{}{}
	go d.forget(w)
	return &conn{client, w}, nil
}

// forget forgets a worker of which nothing runs any more.
func (d *Dialer) forget(w *server.InProcess) {
	<-w.Left()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.workers, w)
}

// Close ends all workers, as a server does that closes: handlers are cancelled and have CancelGrace to return. Close
// returns when all have, or after that with an error that says how many have not: these can't be killed. Dial returns an
// error from then on. A second Close does the same with what is left.
func (d *Dialer) Close() error {
	d.mu.Lock()
	d.closed = true
	var all []*server.InProcess
	for w := range d.workers {
		all = append(all, w)
	}
	d.mu.Unlock()
	for _, w := range all {
		w.Cancel()
	}
	grace := d.config.CancelGrace
	switch {
	case notimeouts.On():
		grace = notimeouts.Forever
	case grace == 0:
		grace = 100 * time.Millisecond
	}
	t := time.NewTimer(max(grace, 0))
	defer t.Stop()
	late, left := false, 0
	for _, w := range all {
		if !late {
			select {
			case <-w.Left():
				continue
			case <-t.C:
				late = true
			}
		}
		w.End(wire.ExitShutdown, "")
		select {
		case <-w.Left():
		default:
			left++
		}
	}
	if left > 0 {
		return fmt.Errorf("bullpen: %d handlers of %q did not return when they were cancelled, and run on: in this process "+
			"nothing can end them", left, d.Name())
	}
	return nil
}

// conn is a pool's connection to a worker.
type conn struct {
	net.Conn
	w *server.InProcess
}

var _ wire.Lifeline = (*conn)(nil)

// Kill implements wire.Lifeline. A handler that does not return runs on.
func (c *conn) Kill(detail string) { c.w.End(wire.ExitCanceled, detail) }

// Exit implements wire.Lifeline.
func (c *conn) Exit(ctx context.Context) *wire.Exit {
	select {
	case <-c.w.Over():
	case <-ctx.Done():
	}
	return c.w.Exit()
}

// OnRetire implements wire.Lifeline.
func (c *conn) OnRetire(f func()) (stop func()) {
	stopped := make(chan struct{})
	go func() {
		select {
		case <-c.w.Over():
			f()
		case <-stopped:
		}
	}()
	return sync.OnceFunc(func() { close(stopped) })
}
