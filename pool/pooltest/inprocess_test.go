package pooltest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/pool/pooltest"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// Hooks, setup data, logs, meta, results and errors are those of a worker, on both wires, and the handler is in this
// process.
func TestInProcessDoesWhatAWorkerDoes(t *testing.T) {
	t.Parallel()
	for _, kind := range []wire.Kind{wire.Binary, wire.JSON} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			hooks, hookLog := newLogger()
			calls, callLog := newLogger()
			d := inProcess(t, pooltest.Config{SetupData: settings{Greeting: "good morning"}, Logger: hooks})
			p := newPool(t, d, pool.Config{Wire: kind, Logger: calls, ReuseAfterError: true})
			ctx := t.Context()
			if got, err := pid.Call(ctx, p); err != nil || got != os.Getpid() {
				t.Errorf("pid %d, %v", got, err)
			}
			if p.Name() != "pooltest" {
				t.Errorf("the pool's name is %q", p.Name())
			}
			who := p.With(pool.CheckoutConfig{Meta: map[string]string{"who": "a friend"}})
			if got, err := greet.Call(ctx, who); err != nil || got != "good morning" {
				t.Errorf("greet: %q, %v", got, err)
			}
			if got := callLog.String(); !strings.Contains(got, "greeting") || !strings.Contains(got, "a friend") {
				t.Errorf("the call's log: %s", got)
			}
			if got := hookLog.String(); !strings.Contains(got, "set up") || !strings.Contains(got, "good morning") {
				t.Errorf("the hook's log: %s", got)
			}
			var remote *wire.RemoteError
			if _, err := fail.Call(ctx, p); !errors.As(err, &remote) || remote.Message != "no" || kind == wire.Binary && remote.Code != "NO" {
				t.Errorf("fail: %v", err)
			}
			if _, err := explode.Call(ctx, p); !errors.As(err, &remote) || !strings.Contains(remote.Message, "boom") {
				t.Errorf("explode: %v", err)
			}
			big := bytes.Repeat([]byte("x"), 400<<10)
			if got, err := bulk.Call(ctx, p, big); err != nil || !bytes.Equal(got, big) {
				t.Errorf("bulk: %d bytes, %v", len(got), err)
			}
			if s := p.Stat(); s.Total > 1 {
				t.Errorf("%d workers", s.Total)
			}
		})
	}
}

// What runs in this process shares its variables.
var (
	released int
	counting = server.NewService("pooltest checkout done", server.Hooks{CheckoutDone: func(context.Context) error { released++; return nil }})
	releases = server.Handle0(counting, "releases", func(context.Context) (int, error) { return released, nil })
)

func TestInProcessCheckoutDone(t *testing.T) {
	t.Parallel()
	d := pooltest.InProcess(counting, pooltest.Config{})
	defer d.Close()
	p := newPool(t, d, pool.Config{})
	first, err := releases.Call(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	for want := first + 1; want < first+4; want++ {
		if got, err := releases.Call(t.Context(), p); err != nil || got != want {
			t.Errorf("after %d releases the hook has run %d times, %v", want, got, err)
		}
	}
}

// A cancelled handler hears of it. One that doesn't is given up, and the next call has another worker.
func TestInProcessCancellation(t *testing.T) {
	t.Parallel()
	p := newPool(t, inProcess(t, pooltest.Config{CancelGrace: patience}), pool.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	pending := wait.Go(ctx, p)
	cancel()
	_, err := pending.Wait()
	var canceled *pool.CanceledError
	if !errors.As(err, &canceled) || !canceled.Kept {
		t.Errorf("wait: %v", err)
	}

	q := newPool(t, inProcess(t, pooltest.Config{}), pool.Config{})
	g := newGate(t)
	defer close(g.end)
	_, err = deaf.Call(t.Context(), q.With(pool.CheckoutConfig{Timeout: 50 * time.Millisecond}), t.Name())
	var timeout *pool.TimeoutError
	if !errors.As(err, &timeout) || timeout.Ran == 0 || timeout.Kept {
		t.Errorf("deaf: %v", err)
	}
	if got, err := echo.Call(t.Context(), q, "next"); err != nil || got != "next" {
		t.Errorf("the next call: %q, %v", got, err)
	}
}

// FailNow of a testing.T calls runtime.Goexit.
func TestInProcessGoexit(t *testing.T) {
	t.Parallel()
	p := newPool(t, inProcess(t, pooltest.Config{}), pool.Config{})
	var remote *wire.RemoteError
	if _, err := goexit.Call(t.Context(), p); !errors.As(err, &remote) || !strings.Contains(remote.Message, "Goexit") {
		t.Errorf("goexit: %v", err)
	}
	if got, err := echo.Call(t.Context(), p, "next"); err != nil || got != "next" {
		t.Errorf("the next call: %q, %v", got, err)
	}
}

var (
	command = server.NewCommand("pooltest command", server.Command{Args: []string{"true"}})
	twin    = server.NewService("pooltest", server.Hooks{}) // the name is taken
)

func TestInProcessMistakes(t *testing.T) {
	t.Parallel()
	var setup *wire.SetupError
	p := newPool(t, inProcess(t, pooltest.Config{SetupData: settings{FailAt: 1}}), pool.Config{})
	if _, err := echo.Call(t.Context(), p, ""); !errors.As(err, &setup) || setup.Code != "NOSETUP" {
		t.Errorf("a failing Setup: %v", err)
	}
	for name, d := range map[string]*pooltest.Dialer{
		"a command":           pooltest.InProcess(command, pooltest.Config{}),
		"no service":          pooltest.InProcess(nil, pooltest.Config{}),
		"unencodable data":    pooltest.InProcess(svc, pooltest.Config{SetupData: make(chan int)}),
		"two of the same":     pooltest.InProcess(twin, pooltest.Config{}),
		"a dialer was closed": closed(t),
	} {
		if _, err := echo.Call(t.Context(), newPool(t, d, pool.Config{}), ""); !errors.Is(err, pool.ErrServerGone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func closed(t *testing.T) *pooltest.Dialer {
	d := pooltest.InProcess(svc, pooltest.Config{})
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	return d
}

// Close of the dialer cancels what runs, and says what does not return.
func TestInProcessClose(t *testing.T) {
	t.Parallel()
	d := pooltest.InProcess(svc, pooltest.Config{Workers: 2, CancelGrace: 50 * time.Millisecond})
	p := newPool(t, d, pool.Config{})
	g := newGate(t)
	heard, unheard := wait.Go(t.Context(), p), deaf.Go(t.Context(), p, t.Name())
	<-g.begun
	if err := d.Close(); err == nil || !strings.Contains(err.Error(), "1 handlers") {
		t.Errorf("Close: %v", err)
	}
	if _, err := heard.Wait(); err == nil {
		t.Error("the call that was cancelled has no error")
	}
	var died *pool.WorkerDiedError
	if _, err := unheard.Wait(); !errors.As(err, &died) || died.Exit.Reason != wire.ExitShutdown {
		t.Errorf("the call that was not heard: %v", err)
	}
	close(g.end)
}

// Workers that are replaced, by MaxCheckouts or after errors, come one after the other.
func TestInProcessReplacement(t *testing.T) {
	t.Parallel()
	p := newPool(t, inProcess(t, pooltest.Config{}), pool.Config{MaxCheckouts: 1})
	for range 20 {
		if _, err := echo.Call(t.Context(), p, "x"); err != nil {
			t.Fatal(err)
		}
		fail.Call(t.Context(), p)
	}
	if s := p.Stat(); s.Connects < 40 {
		t.Errorf("%d workers for 40 checkouts", s.Connects)
	}
}
