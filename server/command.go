package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
)

// Command is a program, in any language, that does a service's work. It reads calls from its standard input and writes
// replies to its standard output, one JSON message a line; PROTOCOL.md describes them. What it writes to its standard error
// goes where a worker's does.
//
// Each worker has a process of the command. Between it and the client stands a process of this program, which speaks
// either wire, runs the timers, and checks what the command says.
type Command struct {
	// Args are the program, which is looked up in PATH, and its arguments. Empty: Server.SetupData or
	// forkserver.Config.SetupData is the Command, which then decides Announces as well.
	Args []string `cbor:"1,keyasint,omitempty"`
	// Announces says that the command's first line is ["up",{}] when it is set up, or ["er",{},MESSAGE] if that failed. The
	// worker is ready, and its SetupTimeout over, only then. Otherwise it is ready as soon as it is started, and such a first
	// line is ignored.
	Announces bool `cbor:"2,keyasint,omitempty"`
	// TLS is Hooks.TLS.
	TLS func() (*tls.Config, error) `cbor:"-"`
}

// NewCommand declares a service whose workers run a command. Every call goes to the command, whatever its method. As with
// NewService, call it for a package variable; mistakes are reported by whatever starts the service.
//
//	var ocr = server.NewCommand("ocr", server.Command{Args: []string{"python3", "ocr.py"}})
//
// A call that the command answers with something else than a reply gets a *wire.RemoteError with the code CodeBadReply,
// and its worker ends; a line that has begun and stands still for five seconds is none. If the command ends under a call, the error is that of a worker that died, with the command's exit
// code or signal and its standard error.
func NewCommand(name string, c Command) *Service {
	c.Args = slices.Clone(c.Args)
	s := NewService(name, Hooks{Setup: setupCommand, CheckoutDone: commandReleased, TLS: c.TLS})
	s.command = &c
	return s
}

// CodeBadReply is the wire.RemoteError.Code of a call that a command answered with something that is no reply.
const CodeBadReply = "bad reply"

// setupCommand is the Setup hook of a command's workers.
func setupCommand(ctx context.Context) error {
	w, ok := ctx.Value(keyWorker).(*worker)
	if !ok || w.relay == nil {
		return errors.New("a command can only be started in a worker")
	}
	c := *w.svc.command
	if len(c.Args) == 0 {
		given, err := SetupData[Command](ctx)
		switch {
		case err != nil:
			return fmt.Errorf("the service names no command, and SetupData is none: %w", err)
		case len(given.Args) == 0 || given.Args[0] == "":
			return errors.New("the service names no command, and SetupData neither: set server.Command.Args")
		}
		c = given
	}
	return w.relay.start(c)
}

// commandReleased is the CheckoutDone hook of a command's workers.
func commandReleased(ctx context.Context) error {
	w := ctx.Value(keyWorker).(*worker)
	return w.relay.released()
}
