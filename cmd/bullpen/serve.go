package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/server"
)

// The services of serve and call. Their command comes with the flags, so it reaches the workers as setup data.
var (
	commands = server.NewCommand("command", server.Command{})

	commandsOverTLS = server.NewCommand("command-tls", server.Command{TLS: func() (*tls.Config, error) { return serveFiles.server() }})
)

// serveFiles are the certificates of serve: from its flags, and in its server process from the environment.
var serveFiles = tlsFilesOf(os.Getenv(envTLS))

// serveConfig is what serve is told.
type serveConfig struct {
	listen  []string
	limits  server.Limits
	command server.Command
}

// serve puts workers that run the command behind the addresses, until ctx ends. The server is a process of its own: if
// this one is killed it has a moment left, to kill what the commands have started.
func serve(ctx context.Context, out, log io.Writer, c serveConfig) error {
	service, env := commands, os.Environ()
	if serveFiles.given() {
		service, env = commandsOverTLS, append(env, serveFiles.setting())
	}
	srv, err := forkserver.Start(ctx, service, forkserver.Config{Listen: c.listen, Limits: c.limits, SetupData: c.command,
		Env: env, Logger: commandLogger(log, hclog.Warn)})
	if err != nil {
		return err
	}
	for _, a := range srv.Addrs() {
		fmt.Fprintf(out, "server  %d  listens on %s; Ctrl-C ends it\n", srv.Pid(), a)
	}
	select {
	case <-ctx.Done():
	case <-srv.Done():
	}
	return errors.Join(srv.Err(), srv.Close())
}

// commandLogger logs from the level on, and passes on what commands write to their standard error as it is.
func commandLogger(to io.Writer, level hclog.Level) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: level, Output: to})
	l.RegisterSink(stderrSink{to})
	return l
}

type stderrSink struct{ to io.Writer }

// Accept implements hclog.SinkAdapter.
func (s stderrSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == "stream" && level == hclog.Info {
			fmt.Fprintln(s.to, msg)
		}
	}
}

func serveCommand() *cobra.Command {
	var s serveConfig
	c := &cobra.Command{
		Use:   "serve [flags] -- COMMAND [ARGS...]",
		Short: "Put workers that run a command, in any language, behind an address",
		Long: `Listens on a unix path or a TCP address, and gives each client a worker that runs COMMAND. The command reads calls
from its standard input and writes replies to its standard output, one JSON message a line: ["do",{},"echo","hi"] and
["ok",{},"hi"]. testdata/workers has one in each of four languages, wire/PROTOCOL.md says the rest.

Clients are pools of bullpen's, on either wire, AnyEvent::Task clients, and bullpen call.`,
		Example: `  bullpen serve -- python3 worker.py
  bullpen serve --listen /run/ocr.sock --standby 2 --hung-timeout 30s -- python3 ocr.py
  bullpen serve --listen 0.0.0.0:7000 --cert server.pem --key server.key --ca clients.pem -- node worker.js`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(s.listen) == 0 {
				address, err := defaultAddress("serve")
				if err != nil {
					return err
				}
				s.listen = []string{address}
			}
			s.command.Args = args
			return serve(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), s)
		},
	}
	f := c.Flags()
	f.SetInterspersed(false) // the command's flags are its own, also without --
	f.StringArrayVar(&s.listen, "listen", nil, "where clients connect: a unix path or HOST:PORT, also several times (default a\nunix socket of the user's)")
	f.IntVar(&s.limits.Standby, "standby", 0, "workers that are started in advance")
	f.DurationVar(&s.limits.HungTimeout, "hung-timeout", 0, "how long a call may run before its worker is killed (default 5m)")
	f.DurationVar(&s.limits.SetupTimeout, "setup-timeout", 0, "with --announces: how long a worker may take to be set up (default 30s)")
	f.Int64Var(&s.limits.MaxMessage, "max-message", 0, "the largest body of a message, in bytes (default 64 MiB)")
	f.Int64Var(&s.limits.MaxMemory, "max-memory", 0, "how much memory a worker may take for its data, in bytes (default no limit)")
	f.BoolVar(&s.command.Announces, "announces", false, `the command's first line is ["up",{}] once it is set up`)
	serveFiles.flags(f, "the authority that clients' certificates must be of (PEM)")
	return c
}
