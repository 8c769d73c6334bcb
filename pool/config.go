package pool

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/internal/notimeouts"
	"github.com/bullpen-go/bullpen/wire"
)

// Config says how a pool works. Its zero value is useful; New doesn't change it. In every number and duration zero
// means the default and a negative value none.
type Config struct {
	// Name stands in errors. Default: the name of the dialer's service, or "pool".
	Name string
	// MinWorkers is how many workers are connected and set up in advance, and kept. Default 2, and never more than
	// MaxWorkers. Negative: none.
	MinWorkers int
	// MaxWorkers is how many workers there are at most; further checkouts queue. Default 20. Negative: no limit.
	MaxWorkers int
	// MaxQueue is how many checkouts may wait; one more gets ErrQueueFull. Default no limit. Negative: none may wait.
	MaxQueue int
	// MaxCheckouts is how often a worker is checked out before it is replaced. Default no limit.
	MaxCheckouts int
	// Timeout is how long a call may take, from when it is the first in its checkout's queue to its reply, the wait for
	// a worker included; and how long Checkout waits. When it expires the worker is killed. Default 30 seconds.
	// Negative: no limit.
	Timeout time.Duration
	// IdleTimeout is how long a worker above MinWorkers may be idle before it is retired. Default 5 minutes. Negative:
	// for ever.
	IdleTimeout time.Duration
	// ReuseAfterError keeps a worker whose handler returned an error. Without it the worker is retired when its checkout
	// is released. A worker whose handler panicked is always retired.
	ReuseAfterError bool
	// Wire is the wire to speak. Default wire.Binary; wire.JSON is for AnyEvent::Task servers.
	Wire wire.Kind
	// MaxMessage is the largest body of a message that is taken from a worker, in bytes. Default what the dialer says, or
	// 64 MiB. Negative: 2 GiB.
	MaxMessage int64
	// SharedMemory is how many bytes of memory a worker may share with the app, so that calls in quick succession, and large
	// messages, go there instead of through the socket: half in each direction, rounded down to a power of two. A worker that is
	// called now and then shares none, and so do workers of other programs, on the JSON wire, and on other systems than Linux.
	// Default 2 MiB, at most 32 MiB, and no less than 8 KiB. Negative: none.
	SharedMemory int
	// Measure has workers measure all calls, as wire.Call.Measure does for one. Default: those that ask for it.
	Measure bool
	// Logger gets what handlers log, and the pool's own records. Default: the dialer's, which for a forkserver.Process is
	// its Config.Logger, or none. hclog.NewNullLogger() drops them.
	Logger hclog.Logger
	// Observer is told of calls, waits, checkouts and workers. Nil costs nothing. It must not be changed after New.
	Observer *Observer

	untimed bool // somebody debugs: there is no Timeout, and a canceled handler has all the time it wants
}

// CheckoutConfig overrides the pool's settings for a View. A zero field changes nothing.
type CheckoutConfig struct {
	// Timeout replaces Config.Timeout. Negative: no limit.
	Timeout time.Duration
	// Logger gets what handlers log, instead of the pool's logger. Nothing holds on to it after a call's end.
	Logger hclog.Logger
	// Meta goes to the handler with each call; wire.Call.Meta is added to it, and wins.
	Meta map[string]string
	// Measure has workers measure the calls, as wire.Call.Measure does for one. False changes nothing.
	Measure bool
}

// withDefaults returns the settings in force: no limit is 0.
func (c Config) withDefaults(d Dialer) Config {
	if c.Name == "" {
		c.Name = "pool"
		if n, ok := d.(interface{ Name() string }); ok {
			c.Name = n.Name()
		}
	}
	setDefault(&c.MaxWorkers, 20)
	if m, ok := d.(interface{ MaxWorkers() int }); ok { // it has no more
		if limit := m.MaxWorkers(); limit > 0 && (c.MaxWorkers == 0 || c.MaxWorkers > limit) {
			c.MaxWorkers = limit
		}
	}
	setDefault(&c.MinWorkers, 2)
	if c.MaxWorkers > 0 {
		c.MinWorkers = min(c.MinWorkers, c.MaxWorkers)
	}
	if c.MaxCheckouts < 0 {
		c.MaxCheckouts = 0
	}
	setDefault(&c.SharedMemory, 2<<20)
	setDefault(&c.Timeout, 30*time.Second)
	setDefault(&c.IdleTimeout, 5*time.Minute)
	if m, ok := d.(interface{ MaxMessage() int64 }); ok && c.MaxMessage == 0 {
		c.MaxMessage = m.MaxMessage()
	}
	if c.MaxMessage < 0 {
		c.MaxMessage = 2 << 30
	}
	if l, ok := d.(interface{ Logger() hclog.Logger }); ok && c.Logger == nil {
		c.Logger = l.Logger()
	}
	if notimeouts.On() {
		c.Timeout, c.untimed = 0, true
		notimeouts.Warn(c.Logger, "pool", c.Name)
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func setDefault[T int | time.Duration](v *T, def T) {
	switch {
	case *v == 0:
		*v = def
	case *v < 0:
		*v = 0
	}
}
