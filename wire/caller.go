package wire

import (
	"context"
	"time"
)

// Caller runs calls on workers. *pool.Pool, *pool.View and *pool.Checkout are Callers.
type Caller interface {
	// Do sends the call and waits for its end. It returns the call's error.
	Do(ctx context.Context, call *Call) error
	// Go queues the call behind the calls before it and returns at once. The end shows in call.Done.
	Go(ctx context.Context, call *Call)
}

// Call is one call of a method. Give it to one Caller, once; until its end it belongs to that Caller.
type Call struct {
	Method string
	// Args are the arguments. A pointer stands for what it points to.
	Args []any
	// Reply is a pointer that the result is decoded into. Nil drops the result.
	Reply any
	// Meta travels beside the arguments to the handler, which reads it with server.Meta. Nil means none.
	Meta map[string]string
	// Cost is filled in at the call's end.
	Cost Cost

	done chan struct{}
	err  error
}

// Cost is what a call took.
type Cost struct {
	Queued time.Duration // from Do or Go to the moment it was sent: its queue and the wait for a worker
	Run    time.Duration // of the handler, measured in the worker; 0 on the JSON wire
}

// Begin prepares the call for Finish and Done. Implementations of Caller.Go call it first.
func (c *Call) Begin() {
	if c.done == nil {
		c.done = make(chan struct{})
	}
}

// Finish ends a call that was begun. Implementations of Caller.Go call it once.
func (c *Call) Finish(err error) {
	c.err = err
	close(c.done)
}

// Done returns a channel that is closed when the call has ended. It is nil before Go.
func (c *Call) Done() <-chan struct{} { return c.done }

// Err returns how the call ended. It may be read after Done was closed.
func (c *Call) Err() error { return c.err }
