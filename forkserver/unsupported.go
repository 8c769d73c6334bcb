//go:build !linux && !darwin

package forkserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"

	"github.com/bullpen-go/bullpen/wire"
)

// instance can't exist here: there is no way to hand a connection to another process.
type instance struct {
	answered bool
	decided  chan struct{}
	dead     chan struct{}
	err      error
}

func (p *Process) launch(context.Context) (*instance, error) {
	return nil, fmt.Errorf("server processes on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func (*instance) isGone() bool                     { return true }
func (*instance) pid() int                         { return 0 }
func (*instance) dial(wire.Kind) (net.Conn, error) { return nil, errors.ErrUnsupported }
func (*instance) close() error                     { return nil }
func (*instance) drain()                           {}
func (*instance) spare() net.Conn                  { return nil }
func (*instance) restock()                         {}
func (*instance) status() (*Status, error)         { return nil, errors.ErrUnsupported }
