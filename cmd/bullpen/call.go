package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// callConfig is what call is told.
type callConfig struct {
	connect  string // an address, or
	command  server.Command
	method   string
	args     []any
	timeout  time.Duration
	wire     wire.Kind
	tls      tlsFiles
	out, log io.Writer
}

// call makes one call and prints its result as JSON.
func call(ctx context.Context, c callConfig) error {
	dialer, end, err := c.dialer(ctx)
	if err != nil {
		return err
	}
	defer end()
	workers, err := pool.New(dialer, pool.Config{Name: "call", MinWorkers: -1, MaxWorkers: 1, Timeout: c.timeout, Wire: c.wire,
		Logger: hclog.New(&hclog.LoggerOptions{Output: c.log})}) // what the handler logs
	if err != nil {
		return err
	}
	defer workers.Close()
	var result any
	if err := workers.Call(ctx, &result, c.method, c.args...); err != nil {
		return err
	}
	enc := json.NewEncoder(c.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(result)
}

// dialer returns what leads to a worker: the address, or a server of the command that end ends.
func (c *callConfig) dialer(ctx context.Context) (d pool.Dialer, end func(), err error) {
	if len(c.command.Args) > 0 {
		srv, err := forkserver.Start(ctx, commands, forkserver.Config{SetupData: c.command, Logger: commandLogger(c.log, hclog.Off)})
		if err != nil {
			return nil, nil, err
		}
		return srv, func() { srv.Close() }, nil
	}
	network, address, err := server.Address(c.connect)
	if err != nil {
		return nil, nil, err
	}
	if network == "unix" {
		return pool.Unix(address), func() {}, nil
	}
	config, err := c.tls.client()
	return pool.TCP(address, config), func() {}, err
}

// jsonArgs returns the call's arguments. A "-" stands for the JSON values on in.
func jsonArgs(texts []string, in io.Reader) (args []any, err error) {
	for _, text := range texts {
		if text == "-" {
			for d := json.NewDecoder(in); ; {
				var v json.RawMessage
				if err := d.Decode(&v); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					return nil, fmt.Errorf("standard input is not JSON: %w", err)
				}
				args = append(args, v)
			}
			continue
		}
		if !json.Valid([]byte(text)) {
			quoted, _ := json.Marshal(text)
			return nil, fmt.Errorf("the argument %s is not JSON: if it is a text, write '%s'", text, quoted)
		}
		args = append(args, json.RawMessage(bytes.TrimSpace([]byte(text))))
	}
	return args, nil
}

func callCommand() *cobra.Command {
	var conf callConfig
	var kind string
	c := &cobra.Command{
		Use:   "call [--connect ADDR] METHOD [JSON-ARG...] [-- COMMAND [ARGS...]]",
		Short: "Call a method and print its result as JSON",
		Long: `Calls METHOD on a worker behind an address, such as that of bullpen serve, or of a server that listens with
forkserver.Config.Listen. With -- COMMAND it needs no server: it runs the command as a worker of its own, for this call.

Each argument is JSON. The argument - stands for all JSON values on standard input. The result is printed as JSON. If the
call fails, the error is printed to standard error, and the exit status is 1.`,
		Example: `  bullpen call echo '{"a":[1,2]}' -- python3 worker.py
  bullpen call --connect /run/ocr.sock --timeout 5s ocr '"page.png"'
  jq .pages book.json | bullpen call --connect 10.0.0.7:7000 --cert me.pem --key me.key --ca servers.pem ocr -`,
		Args: func(c *cobra.Command, args []string) error {
			if n := c.ArgsLenAtDash(); len(args) == 0 || n == 0 {
				return errors.New("which METHOD?")
			} else if n == len(args) {
				return errors.New("which COMMAND? There is none after --")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) (err error) {
			if n := c.ArgsLenAtDash(); n >= 0 {
				conf.command.Args, args = args[n:], args[:n]
			}
			switch {
			case len(conf.command.Args) > 0 && conf.connect != "":
				return errors.New("--connect and a COMMAND exclude each other")
			case len(conf.command.Args) == 0 && conf.connect == "":
				if conf.connect, err = defaultAddress("serve"); err != nil {
					return err
				}
			}
			if conf.wire, err = wireKind(kind); err != nil {
				return err
			}
			conf.method = args[0]
			if conf.args, err = jsonArgs(args[1:], c.InOrStdin()); err != nil {
				return err
			}
			conf.out, conf.log = c.OutOrStdout(), c.ErrOrStderr()
			return call(c.Context(), conf)
		},
	}
	f := c.Flags()
	f.StringVar(&conf.connect, "connect", "", "where the server listens: a unix path or HOST:PORT (default that of bullpen serve)")
	f.DurationVar(&conf.timeout, "timeout", 0, "how long the call may take, the wait for a worker included (default 30s)")
	f.BoolVar(&conf.command.Announces, "announces", false, `the command's first line is ["up",{}] once it is set up`)
	f.StringVar(&kind, "wire", wire.Binary.String(), "the wire to speak, binary or json; AnyEvent::Task servers speak json")
	conf.tls.flags(f, "the authority that the server's certificate must be of (PEM)")
	c.RegisterFlagCompletionFunc("wire", cobra.FixedCompletions([]string{wire.Binary.String(), wire.JSON.String()}, cobra.ShellCompDirectiveNoFileComp))
	return c
}
