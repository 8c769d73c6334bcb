// Command cgo has workers that do in C what a Go program can't: crash there, and loop where no signal of the Go runtime
// gets through. It is run by tests of package forkserver; HOW says what its worker does.
package main

/*
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

static int *volatile nothing;

static int null(void) { return *nothing; }

// loop never returns, and hears nothing.
static void loop(void) {
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, 0);
	for (volatile int i = 0;; i++) {}
}
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

var library = server.NewService("library", server.Hooks{})

var enter = server.Handle(library, "enter", func(_ context.Context, how string) (wire.None, error) {
	fmt.Println("in C")
	switch how {
	case "null":
		C.null()
	case "abort":
		C.abort()
	default:
		C.loop()
	}
	return wire.None{}, nil
})

// printer is a logger's sink that prints.
type printer struct{}

// Accept implements hclog.SinkAdapter.
func (printer) Accept(_ string, _ hclog.Level, msg string, _ ...any) { fmt.Println("log: " + msg) }

func main() {
	forkserver.Init()
	how := os.Getenv("HOW")
	limits := server.Limits{}
	if how == "hung" {
		limits.HungTimeout = 300 * time.Millisecond
	}
	logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Off})
	logger.RegisterSink(printer{})
	srv, err := forkserver.Start(context.Background(), library, forkserver.Config{Limits: limits, Logger: logger})
	if err != nil {
		log.Fatal(err)
	}
	workers, err := pool.New(srv, pool.Config{MinWorkers: -1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("server", srv.Pid())
	_, err = enter.Call(context.Background(), workers, how)
	var died *pool.WorkerDiedError
	if errors.As(err, &died) {
		fmt.Println("died:", died.Exit.Reason, died.Exit.Signal)
		fmt.Printf("stderr: %.200q\n", died.Exit.Stderr())
	}
	fmt.Println("error:", err)
	srv.Close()
}
