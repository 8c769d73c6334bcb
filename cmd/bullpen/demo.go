package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/bcrypt"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// This file is meant to be read from top to bottom: first the code that runs in workers, then the app that calls it.

// passwords is a service: a name, and the methods below. It stands in a package variable because its workers are
// processes of their own. They begin like any run of this program, and get as far as forkserver.Init.
var passwords = server.NewService("passwd-hasher", server.Hooks{})

// hashed is what the method hash returns: a password's hash, and the processes that had a part in it.
type hashed struct {
	Hash           string
	Worker, Server int // process ids
}

// hash is two things in one: the function, registered in the service, and its typed client. The line
// hash.Call(ctx, workers, "secret") runs the function in a worker.
var hash = server.Handle(passwords, "hash", func(ctx context.Context, plaintext string) (hashed, error) {
	b, err := bcrypt.GenerateFromPassword([]byte(plaintext), bcrypt.DefaultCost)
	return hashed{string(b), os.Getpid(), os.Getppid()}, err
})

var verify = server.Handle2(passwords, "verify", func(ctx context.Context, hash, plaintext string) (bool, error) {
	return bcrypt.CompareHashAndPassword([]byte(hash), []byte(plaintext)) == nil, nil
})

// crash ends its worker. It panics on another goroutine, where nobody can recover it, as in a library that has a bug.
var crash = server.Handle0(passwords, "crash", func(ctx context.Context) (wire.None, error) {
	go count(nil, "crash")
	<-ctx.Done()
	return wire.None{}, ctx.Err()
})

func count(words map[string]int, word string) { words[word]++ } // a nil map can't be written to

// demo is the whole of it in one window: it starts a server of its own, and uses it.
func demo(ctx context.Context, out io.Writer) error {
	srv, err := forkserver.Start(ctx, passwords, forkserver.Config{})
	if err != nil {
		return err
	}
	defer srv.Close()
	return demoApp(ctx, out, srv)
}

// demoApp is what an app does with workers.
func demoApp(ctx context.Context, out io.Writer, dialer pool.Dialer) error {
	workers, err := pool.New(dialer, pool.Config{Name: "passwords", MaxWorkers: 4})
	if err != nil {
		return err
	}
	defer workers.Close()

	// A call on the pool: take a free worker, call, give it back. This first one has no timeout, because the server
	// may be started later.
	patient := workers.With(pool.CheckoutConfig{Timeout: -1})
	h, err := hash.Call(ctx, patient, "secret")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "app     %d  this process\n", os.Getpid())
	fmt.Fprintf(out, "server  %d  starts and watches the workers\n", h.Server)
	fmt.Fprintf(out, "worker  %d  hash(\"secret\") = %s\n", h.Worker, h.Hash)

	// A checkout: one worker for several calls.
	co, err := workers.Checkout(ctx)
	if err != nil {
		return err
	}
	defer co.Release()
	ok, err := verify.Call(ctx, co, h.Hash, "secret")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "worker  %d  verify(hash, \"secret\") = %t; we keep this worker\n", co.Pid(), ok)

	// A worker crashes. The call ends with an error that tells how.
	_, err = crash.Call(ctx, workers)
	var died *pool.WorkerDiedError
	if !errors.As(err, &died) {
		return fmt.Errorf("crash should have ended with a %T, and ended with: %v", died, err)
	}
	fmt.Fprintf(out, "worker  %d  crash() killed it. The call's error is a %T:\n", died.Pid, died)
	printDied(out, died)

	// Nobody else has noticed: neither the worker that we keep, nor the pool.
	ok, err = verify.Call(ctx, co, h.Hash, "wrong")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "worker  %d  verify(hash, \"wrong\") = %t; it lives on\n", co.Pid(), ok)
	h, err = hash.Call(ctx, workers, "secret")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "worker  %d  hash(\"secret\") = %s; the pool goes on\n", h.Worker, h.Hash)
	return nil
}

func printDied(out io.Writer, died *pool.WorkerDiedError) {
	line, _, _ := strings.Cut(died.Exit.Stderr(), "\n")
	fmt.Fprintf(out, "        %v\n", died)
	fmt.Fprintf(out, "        pid: %d; exit code: %d; signal: %d; first line of stderr: %s\n",
		died.Pid, died.Exit.Code, died.Exit.Signal, line)
}

// demoServer is the server's window. It serves clients in other programs until ctx ends.
func demoServer(ctx context.Context, out io.Writer, address string) error {
	network, address, err := server.Address(address)
	if err != nil {
		return err
	}
	l, err := server.Listen(passwords, network, address)
	if err != nil {
		return err
	}
	srv := &server.Server{Service: passwords, OnEvent: func(e server.Event) { printEvent(out, e) }}
	defer context.AfterFunc(ctx, func() { srv.Close() })()
	fmt.Fprintf(out, "server  %d  listens on %s; Ctrl-C ends it\n", os.Getpid(), l.Addr())
	if err := srv.Serve(l); !errors.Is(err, server.ErrServerClosed) {
		return errors.Join(err, srv.Close())
	}
	return srv.Close() // waits for the last worker's end
}

func printEvent(out io.Writer, e server.Event) {
	switch e.Type {
	case server.WorkerReady:
		fmt.Fprintf(out, "worker  %d  is ready\n", e.Pid)
	case server.WorkerEnded:
		fmt.Fprintf(out, "worker  %d  %s\n", e.Pid, e.Exit)
	}
}

// demoClient is the client's window: an app whose server is another program. Whichever is started first, they meet.
func demoClient(ctx context.Context, out io.Writer, address string) error {
	network, address, err := server.Address(address)
	if err != nil {
		return err
	}
	dialer := pool.Unix(address)
	if network == "tcp" {
		dialer = pool.TCP(address, nil)
	}
	fmt.Fprintf(out, "client: the server is at %s; start it with: bullpen demo --server\n", address)
	return demoApp(ctx, out, dialer)
}

func demoCommand() *cobra.Command {
	var isServer, isClient bool
	var address string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Hash a password in a worker process, and see a worker crash",
		Long: `Hashes a password in a worker process and verifies it in one that is held for several calls. Then it makes a
worker crash, shows the error that the app gets, and that the pool goes on.

Everything runs in one window, or in two: the server in one, the app in the other, in either order of starting.`,
		Example: `  bullpen demo

  bullpen demo --server    # in one window
  bullpen demo --client    # in another`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if !isServer && !isClient {
				if address != "" {
					return errors.New("--address goes with --server or --client")
				}
				return demo(c.Context(), c.OutOrStdout())
			}
			if address == "" {
				if address, err = defaultAddress("demo"); err != nil {
					return err
				}
			}
			if isServer {
				return demoServer(c.Context(), c.OutOrStdout(), address)
			}
			return demoClient(c.Context(), c.OutOrStdout(), address)
		},
	}
	c.Flags().BoolVar(&isServer, "server", false, "be the server, until Ctrl-C")
	c.Flags().BoolVar(&isClient, "client", false, "be the app, whose server is in another window")
	c.Flags().StringVar(&address, "address", "", "with --server and --client: where they meet, a unix path or a loopback\n"+
		"HOST:PORT (default a unix socket of the user's)")
	c.MarkFlagsMutuallyExclusive("server", "client")
	return c
}
