//go:build linux

package forkserver_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// Everything in the service takes at least long, and is allowed short.
const (
	short = 20 * time.Millisecond
	long  = 400 * time.Millisecond
)

var lengthy = server.NewService("lengthy", server.Hooks{Setup: func(context.Context) error { time.Sleep(long); return nil }})

var (
	linger = server.Handle0(lengthy, "linger", func(context.Context) (wire.None, error) { time.Sleep(long); return wire.None{}, nil })
	// ignore goes on for long when it is cancelled.
	ignore = server.Handle0(lengthy, "ignore", func(ctx context.Context) (wire.None, error) {
		<-ctx.Done()
		time.Sleep(long)
		return wire.None{}, nil
	})
)

func init() {
	apps["no timeouts"] = func() {
		ctx := context.Background()
		srv, err := forkserver.Start(ctx, lengthy, forkserver.Config{StartTimeout: time.Microsecond, Env: []string{envMark + "=" + os.Getenv(envMark)},
			Limits: server.Limits{SetupTimeout: short, HungTimeout: short, CancelGrace: short}})
		fmt.Println("start:", err)
		if err != nil {
			return
		}
		defer srv.Close()
		workers, err := pool.New(srv, pool.Config{Timeout: short})
		if err != nil {
			panic(err)
		}
		defer workers.Close()
		_, err = linger.Call(ctx, workers.With(pool.CheckoutConfig{Timeout: short}))
		fmt.Println("linger:", err)
		ctx, cancel := context.WithTimeout(ctx, long)
		defer cancel()
		_, err = ignore.Call(ctx, workers)
		var timeout *pool.TimeoutError
		fmt.Println("ignore:", errors.As(err, &timeout) && timeout.Kept)
	}
}

// One switch turns all timeouts off, in app, server and workers, and the log says so.
func TestNoTimeouts(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	a := proctest.NewApp(os.Args[0], "no timeouts", "BULLPEN_DEBUG=notimeouts")
	a.Stderr = w
	a.Launch(t)
	w.Close()
	for what, want := range map[string]string{"start:": "<nil>", "linger:": "<nil>", "ignore:": "true"} {
		if got := a.Says(t, what); got != want {
			t.Errorf("%s %s", what, got)
		}
	}
	<-a.Ended
	warnings := warned(r)
	if len(warnings) != 2 { // of Start and of New: there is no logger, so they are printed
		t.Errorf("warnings: %q", warnings)
	}
}

// Without the switch each of them ends what it is for.
func TestTimeoutsWithoutTheSwitch(t *testing.T) {
	t.Parallel()
	a := proctest.NewApp(os.Args[0], "no timeouts", "BULLPEN_DEBUG=")
	a.Launch(t)
	if got := a.Says(t, "start:"); got == "<nil>" {
		t.Error("StartTimeout is without effect")
	}
	<-a.Ended
}

// warned returns the lines that have the warning.
func warned(r io.Reader) (lines []string) {
	for s := bufio.NewScanner(r); s.Scan(); {
		if strings.Contains(s.Text(), "all timeouts are off") {
			lines = append(lines, s.Text())
		}
	}
	return lines
}
