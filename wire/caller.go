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
	// Measure has the worker measure what Cost tells of it. That takes some microseconds, so it is not done unasked.
	Measure bool
	// Cost is filled in at the call's end.
	Cost Cost
	// Pid is the process id of the worker that the call was sent to last, filled in at the call's end. It is 0 if there was
	// none, and on the JSON wire, which doesn't tell.
	Pid int

	done chan struct{}
	err  error
}

// Cost is what a call took.
type Cost struct {
	Queued time.Duration // from Do or Go to the moment it was sent: its queue and the wait for a worker
	// Run is how long the handler ran, measured in the worker. On the JSON wire, which doesn't tell, and of a call that got no
	// reply, it is the time from sending it to its end. Of a call that was not sent it is 0.
	Run time.Duration
	// CPU is the processor time that all threads of the worker's process used while the handler ran. It is 0 without
	// Call.Measure, of a call that got no reply, and if the worker is not one of bullpen's. Of a service of commands it is
	// the command's time, without that of processes that it has started; on macOS it is 0 then.
	CPU time.Duration
	// PeakRSS is the most memory, in bytes, that the worker's process has had in use at any time up to the handler's end:
	// resident memory, also that of calls before this one. It is 0 where CPU is.
	PeakRSS int64
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
