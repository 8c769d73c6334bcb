//go:build linux || darwin

package pooltest_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/pool/pooltest"
	"github.com/bullpen-go/bullpen/wire"
)

// dialers are those whose workers can have faults: in this process, in others, and behind an address.
func dialers(t *testing.T) map[string]pool.Dialer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	srv, err := forkserver.Start(t.Context(), svc, forkserver.Config{Listen: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return map[string]pool.Dialer{"in process": inProcess(t, pooltest.Config{}), "processes": srv, "address": pool.Unix(path)}
}

// eachDialer runs a test with each of them on each wire.
func eachDialer(t *testing.T, test func(*testing.T, pool.Dialer, wire.Kind)) {
	t.Parallel()
	for name, d := range dialers(t) {
		for _, kind := range []wire.Kind{wire.Binary, wire.JSON} {
			t.Run(name+", "+kind.String(), func(t *testing.T) { test(t, d, kind) })
		}
	}
}

// one makes calls until one of them fails, and returns its number and error.
func one(t *testing.T, p wire.Caller) (int, error) {
	t.Helper()
	for n := 1; n < 10; n++ {
		got, err := echo.Call(t.Context(), p, "x")
		if err != nil {
			return n, err
		}
		if got != "x" {
			t.Errorf("call %d: %q", n, got)
		}
	}
	return 0, nil
}

func TestCrash(t *testing.T) {
	eachDialer(t, func(t *testing.T, d pool.Dialer, kind wire.Kind) {
		in := pooltest.Inject(d, pooltest.Fault{Kind: pooltest.Crash, Call: 3})
		p := newPool(t, in, pool.Config{MinWorkers: 1, Wire: kind})
		n, err := one(t, p)
		var died *pool.WorkerDiedError
		if n != 3 || !errors.As(err, &died) || died.Exit.Reason != wire.ExitCrashed || died.Method != "echo" || died.Unread {
			t.Fatalf("call %d: %v", n, err)
		}
		if !strings.Contains(died.Exit.Stderr(), "injected") || kind == wire.Binary && (died.Pid == 0 || died.Exit.Pid != died.Pid) {
			t.Errorf("pid %d, %+v", died.Pid, died.Exit)
		}
		if n, err := one(t, p); n != 0 {
			t.Errorf("after it, call %d: %v", n, err)
		}
		if in.Happened() != 1 {
			t.Errorf("%d faults", in.Happened())
		}
	})
}

func TestHang(t *testing.T) {
	eachDialer(t, func(t *testing.T, d pool.Dialer, kind wire.Kind) {
		p := newPool(t, pooltest.Inject(d, pooltest.Fault{Kind: pooltest.Hang, Method: "pid"}), pool.Config{Wire: kind})
		if n, err := one(t, p); n != 0 {
			t.Errorf("call %d: %v", n, err)
		}
		var timeout *pool.TimeoutError
		if _, err := pid.Call(t.Context(), p.With(pool.CheckoutConfig{Timeout: 100 * time.Millisecond})); !errors.As(err, &timeout) || timeout.Ran == 0 || timeout.Kept {
			t.Errorf("a call that hangs: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		pending := pid.Go(ctx, p)
		cancel()
		var canceled *pool.CanceledError
		if _, err := pending.Wait(); !errors.As(err, &canceled) {
			t.Errorf("a canceled call that hangs: %v", err)
		}
		if n, err := one(t, p); n != 0 {
			t.Errorf("after it, call %d: %v", n, err)
		}
	})
}

func TestSlow(t *testing.T) {
	eachDialer(t, func(t *testing.T, d pool.Dialer, kind wire.Kind) {
		const delay = 300 * time.Millisecond
		p := newPool(t, pooltest.Inject(d, pooltest.Fault{Kind: pooltest.Slow, Delay: delay, Call: 2, PerWorker: true}), pool.Config{Wire: kind})
		co, err := p.Checkout(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer co.Release()
		for n := 1; n <= 3; n++ {
			begin := time.Now()
			if _, err := echo.Call(t.Context(), co, "x"); err != nil {
				t.Errorf("call %d: %v", n, err)
			}
			if took := time.Since(begin); n == 2 && took < delay {
				t.Errorf("the slow call took %v", took)
			}
		}
	})
}

func TestSlowAboveTimeout(t *testing.T) {
	eachDialer(t, func(t *testing.T, d pool.Dialer, kind wire.Kind) {
		p := newPool(t, pooltest.Inject(d, pooltest.Fault{Kind: pooltest.Slow, Delay: time.Hour, Method: "pid"}), pool.Config{Wire: kind})
		if n, err := one(t, p); n != 0 { // there is a worker now
			t.Errorf("call %d: %v", n, err)
		}
		var timeout *pool.TimeoutError
		if _, err := pid.Call(t.Context(), p.With(pool.CheckoutConfig{Timeout: 100 * time.Millisecond})); !errors.As(err, &timeout) || timeout.Ran == 0 {
			t.Errorf("a call that is slow: %v", err)
		}
		if n, err := one(t, p); n != 0 {
			t.Errorf("after it, call %d: %v", n, err)
		}
	})
}

func TestError(t *testing.T) {
	eachDialer(t, func(t *testing.T, d pool.Dialer, kind wire.Kind) {
		disk := &wire.RemoteError{Message: "the disk is full", Code: "NOSPACE"}
		p := newPool(t, pooltest.Inject(d, pooltest.Fault{Kind: pooltest.Error, Error: disk, Call: 2}, pooltest.Fault{Kind: pooltest.Error, Call: 4}),
			pool.Config{MinWorkers: 1, Wire: kind, ReuseAfterError: true})
		var remote *wire.RemoteError
		if n, err := one(t, p); n != 2 || !errors.As(err, &remote) || remote.Message != disk.Message || kind == wire.Binary && remote.Code != disk.Code {
			t.Errorf("call %d: %v", n, err)
		}
		if n, err := one(t, p); n != 2 || !errors.As(err, &remote) || !strings.Contains(remote.Message, "injected") {
			t.Errorf("call 2+%d: %v", n, err)
		}
		if n, err := one(t, p); n != 0 { // the released worker was told so, and has answered
			t.Errorf("after it, call %d: %v", n, err)
		}
	})
}

// A large call, which is written in pieces, is one call.
func TestFaultUnderALargeCall(t *testing.T) {
	eachDialer(t, func(t *testing.T, d pool.Dialer, kind wire.Kind) {
		p := newPool(t, pooltest.Inject(d, pooltest.Fault{Kind: pooltest.Error, Call: 2}), pool.Config{MinWorkers: 1, Wire: kind})
		big := make([]byte, 3<<20)
		if kind == wire.JSON { // which takes its time
			big = big[:100<<10]
		}
		for n := 1; n <= 3; n++ {
			got, err := bulk.Call(t.Context(), p, big)
			if wrong := err != nil; wrong != (n == 2) || err == nil && len(got) != len(big) {
				t.Errorf("call %d: %d bytes, %v", n, len(got), err)
			}
		}
	})
}
