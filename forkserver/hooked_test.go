//go:build linux

package forkserver_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/server"
)

// setupData tells the hooks of the service hooked what to do.
type setupData struct {
	Mode string
	File string // each Setup appends a line to it
	When time.Time
}

// hooked is a service whose hooks do what its setup data says.
var hooked = server.NewService("hooked", server.Hooks{Setup: func(ctx context.Context) error {
	d, err := server.SetupData[setupData](ctx)
	if err != nil {
		return err
	}
	if d.File != "" {
		if err := appendLine(d.File, fmt.Sprint(os.Getpid())); err != nil {
			return err
		}
	}
	setupContext = ctx
	switch d.Mode {
	case "fail":
		return errors.New("no luck")
	case "panic":
		panic("setup panics")
	case "exit":
		fmt.Fprintln(os.Stderr, "setup exits")
		os.Exit(6)
	case "block":
		fmt.Println("setting up")
		select {}
	case "raw":
		for {
			unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
		}
	case "slow":
		time.Sleep(50 * time.Millisecond)
	case "log":
		server.Logger(ctx).Warn("from the hook", "key", "value")
	}
	return nil
}})

var setupContext context.Context // the Setup hook's

var (
	hookedPid = server.Handle0(hooked, "pid", func(context.Context) (int, error) { return os.Getpid(), nil })

	// hookedData returns what SetupData says in a handler.
	hookedData = server.Handle0(hooked, "data", func(ctx context.Context) (setupData, error) {
		return server.SetupData[setupData](ctx)
	})

	// wrongData asks for setup data of another type.
	wrongData = server.Handle0(hooked, "wrong data", func(ctx context.Context) ([]int, error) {
		return server.SetupData[[]int](ctx)
	})

	// contextErr tells how the Setup hook's context is.
	contextErr = server.Handle0(hooked, "context", func(context.Context) (string, error) {
		return fmt.Sprint(setupContext.Err()), nil
	})
)

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// collect runs the garbage collector and what it finds to run.
func collect() {
	done := make(chan struct{})
	runtime.AddCleanup(new([64]byte), func(c chan struct{}) { close(c) }, done)
	for {
		runtime.GC()
		select {
		case <-done:
			return
		case <-time.After(time.Millisecond):
		}
	}
}
