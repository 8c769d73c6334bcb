package pool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

var (
	// ErrQueueFull says that MaxQueue checkouts wait already.
	ErrQueueFull = errors.New("bullpen: the pool's queue is full")
	// ErrClosed says that the pool was closed, or that the checkout was released.
	ErrClosed = errors.New("bullpen: the pool or checkout is closed")
	// ErrAborted is what Abort(nil) ends a checkout with.
	ErrAborted = errors.New("bullpen: the checkout was aborted")
	// errPanicked is what ends a checkout, and what the observer is told, when the app's own code has panicked under a call.
	errPanicked = errors.New("bullpen: a call on the checkout panicked in the app, in an argument's encoding or the logger")
	// ErrServerGone says that the server process has ended for good, and with it its workers.
	ErrServerGone = wire.ErrServerGone
)

// WorkerDiedError says that the worker ended under a call, or under the checkout before it. Exit tells how.
type WorkerDiedError struct {
	Pool   string // the pool's name
	Method string // of the call that ran, or ""
	Pid    int    // 0 if the wire doesn't tell
	// Exit tells how the worker ended. It is never nil; for a worker that nobody could ask about, on a Listen address of
	// another program's, its Reason is wire.ExitUnknown.
	Exit *wire.Exit
	// Unread is true if the worker provably never read the call.
	Unread bool
	// Err is what the connection said.
	Err error
}

// Error implements error.
func (e *WorkerDiedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "bullpen: worker %d of pool %q died", e.Pid, e.Pool)
	if e.Method != "" {
		fmt.Fprintf(&b, " under %q", e.Method)
	}
	fmt.Fprintf(&b, ": it %s", e.Exit)
	if line := e.Exit.Headline(); line != "" {
		fmt.Fprintf(&b, " (stderr: %s)", line)
	}
	return b.String()
}

// Unwrap returns the connection's error.
func (e *WorkerDiedError) Unwrap() error { return e.Err }

// SafeToRetry reports whether the worker provably never read the call.
func (e *WorkerDiedError) SafeToRetry() bool { return e.Unread }

// TimeoutError says that a call or a checkout took longer than Timeout, or than its context's deadline allowed. It
// matches context.DeadlineExceeded.
type TimeoutError struct {
	Pool   string
	Method string // "" for a checkout
	// Waited is how long was waited for a worker, and Ran how long the call then ran. If Ran is 0 the time went into
	// waiting, and the call was never sent.
	Waited, Ran time.Duration
	// Kept is true if the call was ended by its context's deadline and the handler returned in time, so that its worker
	// lives on. A worker that exceeds Timeout is killed.
	Kept bool
	// Holders are the checkouts that held the workers when the wait ended.
	Holders []Holder
	// Err is why there was no other worker: the last failure to connect or set up, or nil.
	Err error
}

// Holder is a checkout that holds a worker.
type Holder struct {
	Pid    int    // 0 if the wire doesn't tell, and of a standby that has just been handed out, until it has said hello
	Method string // the call that runs, or the last one
	// For is how long it is since the checkout. One that has made no call yet, and did not have to wait for its worker,
	// counts from when others began to wait.
	For time.Duration
}

// Error implements error.
func (e *TimeoutError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "bullpen: pool %q: ", e.Pool)
	if e.Ran > 0 {
		fmt.Fprintf(&b, "%q timed out after it ran for %v", e.Method, e.Ran.Round(time.Millisecond))
		if !e.Kept {
			b.WriteString("; its worker was ended")
		}
		return b.String()
	}
	fmt.Fprintf(&b, "no worker became free within %v", e.Waited.Round(time.Millisecond))
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	for i, h := range e.Holders {
		if i == 3 {
			fmt.Fprintf(&b, ", and %d more", len(e.Holders)-i)
			break
		}
		name := "a worker"
		if h.Pid != 0 {
			name = fmt.Sprintf("worker %d", h.Pid)
		}
		fmt.Fprintf(&b, "; %s is held for %v", name, h.For.Round(time.Millisecond))
		if h.Method != "" {
			fmt.Fprintf(&b, " (%q)", h.Method)
		}
	}
	return b.String()
}

// Is reports whether target is context.DeadlineExceeded.
func (e *TimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Timeout returns true, as net.Error has it.
func (e *TimeoutError) Timeout() bool { return true }

// Unwrap returns why there was no other worker, or nil.
func (e *TimeoutError) Unwrap() error { return e.Err }

// SafeToRetry reports whether the call was never sent.
func (e *TimeoutError) SafeToRetry() bool { return e.Ran == 0 }

// CanceledError says that the context of a running call ended. It wraps the context's cause. Kept tells whether the
// handler returned in time, so that its worker lives on.
type CanceledError struct {
	Pool   string
	Method string
	Kept   bool
	// Remote is what the handler then returned, or nil.
	Remote *wire.RemoteError
	Err    error
}

// Error implements error.
func (e *CanceledError) Error() string {
	s := fmt.Sprintf("bullpen: pool %q: %q was canceled: %v", e.Pool, e.Method, e.Err)
	if !e.Kept {
		s += "; its handler did not return, and its worker was ended"
	}
	return s
}

// Unwrap returns the context's cause.
func (e *CanceledError) Unwrap() error { return e.Err }

// SkippedError says that a call was not run because a call before it in its checkout's queue failed. It wraps that
// call's error.
type SkippedError struct {
	Method string
	Err    error
}

// Error implements error.
func (e *SkippedError) Error() string {
	return fmt.Sprintf("bullpen: %q was not run: a call before it on the same checkout failed: %v", e.Method, e.Err)
}

// Unwrap returns the error of the call before.
func (e *SkippedError) Unwrap() error { return e.Err }

// SafeToRetry returns true.
func (e *SkippedError) SafeToRetry() bool { return true }
