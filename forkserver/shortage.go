package forkserver

import (
	"errors"
	"strings"
	"syscall"
	"time"
)

// A server that could not be started because the machine had no room for it, no descriptor, no process or no memory, has
// not died. It is tried again until there is room, and soon after.
const shortageMax = time.Second // between two tries

// shortages are the errors that go away when somebody else gives something back.
var shortages = []error{syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM, syscall.ENOBUFS}

// shortageError is a failed start of a server that itself had no room for something.
type shortageError struct{ text string }

// Error implements error.
func (e *shortageError) Error() string { return e.text }

// isShortage reports whether a start failed for lack of room.
func isShortage(err error) bool {
	var s *shortageError
	if errors.As(err, &s) {
		return true
	}
	for _, e := range shortages {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// startFailure is the error of a server that ended before it answered. If the Go runtime got no thread or memory to
// begin with, only what it printed tells.
func startFailure(text, said string) error {
	for _, mark := range []string{"runtime: failed to create new OS thread", "pthread_create failed", "runtime: cannot allocate memory"} {
		if strings.Contains(said, mark) {
			return &shortageError{text}
		}
	}
	return errors.New(text)
}
