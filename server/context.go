package server

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/wire"
)

type contextKey int

const (
	keyWorker contextKey = iota // *worker
	keyCall                     // *callContext
)

// SetupData returns the value that was given to forkserver.Start as Config.SetupData, decoded into a T. It works in
// hooks and in handlers. Where no data was given it returns an error.
func SetupData[T any](ctx context.Context) (T, error) {
	var v T
	w, ok := ctx.Value(keyWorker).(*worker)
	if !ok {
		return v, errors.New("bullpen: SetupData: the context is not one of a worker's hooks or handlers")
	}
	if len(w.config.SetupData) == 0 {
		return v, errors.New("bullpen: SetupData: none was given to Start")
	}
	err := wire.Unmarshal(w.config.SetupData, &v)
	return v, err
}

// Logger returns the logger of the call that ctx belongs to. Its records travel back with the reply and are replayed
// into the caller's logger. In hooks, and in a context that isn't a worker's, the records go to the server's logger or
// nowhere. After the call has ended, what is logged is dropped.
func Logger(ctx context.Context) hclog.Logger {
	if c, ok := ctx.Value(keyCall).(*callContext); ok {
		return c.logger()
	}
	if w, ok := ctx.Value(keyWorker).(*worker); ok {
		return w.hookLogger()
	}
	return hclog.NewNullLogger()
}

// Meta returns what the caller put into wire.Call.Meta or pool.CheckoutConfig.Meta, or nil.
func Meta(ctx context.Context) map[string]string {
	c, ok := ctx.Value(keyCall).(*callContext)
	if !ok {
		return nil
	}
	m, ok := c.meta[wire.MetaUser].(map[string]any)
	if !ok {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		if s, ok := v.(string); ok {
			out[k] = s
		}
	}
	return out
}

// callContext is the context of one call. It makes its channel when somebody asks for it, so that a handler that
// doesn't costs one allocation.
//
// States of phase, and who may change them:
//
//	running  → finished  the loop: the handler has returned, nobody watched
//	running  → watched   the watch: the call takes long, and a goroutine now reads the connection
//	watched  → finished  the loop, once that goroutine has stopped
type callContext struct {
	base  context.Context // the worker's
	id    uint32
	meta  map[string]any
	phase atomic.Int32

	mu    sync.Mutex // guards all below
	done  chan struct{}
	err   error
	after map[*afterFunc]struct{}
	logs  *callLog
}

const (
	running int32 = iota
	watched
	finished
)

type afterFunc struct{ f func() }

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Deadline says that there is none: the caller's deadline arrives as a cancellation.
func (c *callContext) Deadline() (time.Time, bool) { return time.Time{}, false }

func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		if c.err != nil {
			c.done = closedChan
		} else {
			c.done = make(chan struct{})
		}
	}
	return c.done
}

func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *callContext) Value(key any) any {
	if key == keyCall {
		return c
	}
	return c.base.Value(key)
}

// AfterFunc lets package context derive contexts from this one without a goroutine for each.
func (c *callContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = map[*afterFunc]struct{}{}
	}
	af := &afterFunc{f}
	c.after[af] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waiting := c.after[af]
		delete(c.after, af)
		return waiting
	}
}

// cancel ends the context. It reports whether this was the first time.
func (c *callContext) cancel() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	c.err = context.Canceled
	if c.done != nil {
		close(c.done)
	}
	for af := range c.after {
		go af.f()
	}
	c.after = nil
	return true
}

// logger returns the call's logger.
func (c *callContext) logger() hclog.Logger { return c.log().logger() }

// log returns the call's records.
func (c *callContext) log() *callLog {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logs == nil {
		w, _ := c.base.Value(keyWorker).(*worker)
		c.logs = newCallLog(w)
	}
	return c.logs
}

// takeLogs returns the call's records, or nil, and drops what is logged from now on.
func (c *callContext) takeLogs() *wire.LogDefer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logs == nil {
		return nil
	}
	return c.logs.take()
}
