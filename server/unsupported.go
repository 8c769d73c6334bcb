//go:build !linux && !darwin

package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
)

// supervisor can't exist here: a connection can't be handed to another process.
type supervisor struct{}

func newSupervisor(*Server) (*supervisor, error) {
	return nil, fmt.Errorf("bullpen: worker processes on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func (*supervisor) serve(Connection) (func(string), error) { return nil, errors.ErrUnsupported }
func (*supervisor) serveAhead(Connection, func()) (Ahead, error) {
	return nil, errors.ErrUnsupported
}
func (*supervisor) drain(context.Context) error { return errors.ErrUnsupported }
func (*supervisor) close() []int                { return nil }

func (*supervisor) killAll()  {}
func (*supervisor) killRest() {}

func (s *Server) accept(net.Listener) error { return errors.ErrUnsupported }
