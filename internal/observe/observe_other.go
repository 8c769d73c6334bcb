//go:build !linux

package observe

import (
	"errors"
	"fmt"
	"runtime"
)

var errHere = fmt.Errorf("looking into a running app on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// Look returns an error that wraps errors.ErrUnsupported: there is no /proc here.
func Look(pid int) (*App, error) { return nil, errHere }

// Find returns an error that wraps errors.ErrUnsupported.
func Find() ([]int, error) { return nil, errHere }

// Listener returns an error that wraps errors.ErrUnsupported.
func Listener(path string) (pid int, err error) { return 0, errHere }

// Kill returns an error that wraps errors.ErrUnsupported.
func (s *Server) Kill(w Worker) error { return errHere }

// Retire returns an error that wraps errors.ErrUnsupported.
func (s *Server) Retire(w Worker) error { return errHere }
