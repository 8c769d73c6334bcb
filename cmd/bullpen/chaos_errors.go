//go:build linux

package main

import (
	"errors"
	"fmt"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

// errChaosAbort is what this program aborts checkouts with.
var errChaosAbort = errors.New("aborted by chaos")

// chaosTyped returns the first error in err's chain whose type the documentation promises, or nil.
func chaosTyped(err error) error {
	for ; err != nil; err = errors.Unwrap(err) {
		switch err.(type) {
		case *wire.RemoteError, *wire.SetupError, *wire.CodecError, *wire.ProtocolError,
			*pool.WorkerDiedError, *pool.TimeoutError, *pool.CanceledError, *pool.SkippedError:
			return err
		}
	}
	return nil
}

// chaosErrorKind names an error's kind. It is not typed if the documentation doesn't promise such an error.
func chaosErrorKind(err error) (kind string, typed bool) {
	switch e := chaosTyped(err).(type) {
	case *wire.RemoteError:
		if e.Type == wire.TypePanic {
			return "panic", true
		}
		return "handler's error", true
	case *wire.SetupError:
		return "setup failed", true
	case *wire.CodecError:
		return "codec", true
	case *wire.ProtocolError:
		return "protocol violation", true
	case *pool.WorkerDiedError:
		if e.Exit.Reason == wire.ExitUnknown {
			return "worker died, nobody knows how", true
		}
		return "worker died: " + string(e.Exit.Reason), true
	case *pool.TimeoutError:
		if e.Ran == 0 {
			return "timeout, waiting", true
		}
		return "timeout, running", true
	case *pool.CanceledError:
		return "canceled", true
	case *pool.SkippedError:
		return "skipped", true
	}
	for _, known := range []error{pool.ErrClosed, pool.ErrQueueFull, pool.ErrServerGone, pool.ErrAborted, errChaosAbort} {
		if errors.Is(err, known) {
			return known.Error(), true
		}
	}
	return fmt.Sprintf("untyped: %T", err), false
}
