//go:build linux || darwin

package pool_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

// The JSON wire over a Listen address, against our own server. What the binary wire does too is tested beside it.

func TestJSONOverAUnixPath(t *testing.T) {
	t.Parallel()
	path := shortDir(t) + "/s"
	start(t, plain, forkserver.Config{Listen: []string{path}})
	logs := newRecords()
	p := newPool(t, pool.Unix(path), pool.Config{Wire: wire.JSON, MaxWorkers: 1, ReuseAfterError: true, Logger: logs})
	ctx, co := limited(t), checkout(t, p)
	worker := must[int](t)(pid.Call(ctx, co))
	equal(t, "the echo", must[string](t)(echoText.Call(ctx, co, unicodeText)), unicodeText)

	_, err := fail.Call(ctx, co, "ünïcode")
	if re := as[*wire.RemoteError](t, err); re.Message != "ünïcode" || re.Code != "E_FAIL" || re.Type != "*errors.errorString" {
		t.Errorf("%+v", re)
	}
	begin := time.Now()
	_, err = chatter.Call(ctx, co, 20, "fail")
	equal(t, "the message", as[*wire.RemoteError](t, err).Message, "chatter failed")
	checkChatter(t, logs.get(), 0, begin)
	co.Release()
	equal(t, "the worker", must[int](t)(pid.Call(ctx, p)), worker)

	_, err = explode.Call(ctx, p, "boom")
	equal(t, "the type", as[*wire.RemoteError](t, err).Type, wire.TypePanic)
	co = checkout(t, p)
	if worker == must[int](t)(pid.Call(ctx, co)) {
		t.Error("a worker that panicked was kept")
	}
	_, err = exit.Call(ctx, co, 3, "")
	died := as[*pool.WorkerDiedError](t, err)
	if died.Unread || died.Exit == nil || died.Exit.Reason != wire.ExitUnknown {
		t.Errorf("%+v", died)
	}
	_, again := pid.Call(ctx, co)
	equal(t, "a later call", again, err)
}

func TestJSONReleaseRunsCheckoutDone(t *testing.T) {
	t.Parallel()
	path := shortDir(t) + "/s"
	_, d := startHooked(t, forkserver.Config{Listen: []string{path}})
	p := newPool(t, pool.Unix(path), pool.Config{Wire: wire.JSON, MaxWorkers: 1})
	for i := range 3 {
		must[int](t)(hookedPid.Call(limited(t), p))
		co := checkout(t, p)
		must[int](t)(hookedPid.Call(limited(t), co))
		co.Release()
		until(t, "both hooks have run", func() bool { return countLines(d.DoneLog) == 2*i+2 })
	}
	equal(t, "workers had", p.Stat().Connects, 1)
}

// TestJSONSetupErrorArrivesAndIsTriedAgain follows AnyEvent::Task: a checkout's first call gets the error, and the next
// one on the same checkout tries again.
func TestJSONSetupErrorArrivesAndIsTriedAgain(t *testing.T) {
	t.Parallel()
	path := shortDir(t) + "/s"
	_, d := startHooked(t, forkserver.Config{Listen: []string{path}})
	write(t, d.SetupFails, "the table is missing")
	p := newPool(t, pool.Unix(path), pool.Config{Wire: wire.JSON, MaxWorkers: 1})
	ctx, co := limited(t), checkout(t, p)
	for range 3 {
		_, err := hookedPid.Call(ctx, co)
		equal(t, "the message", as[*wire.SetupError](t, err).Message, "the table is missing")
		if !strings.HasPrefix(err.Error(), "setup exception: ") {
			t.Error(err)
		}
	}
	_, err := hookedPid.Call(ctx, p.With(pool.CheckoutConfig{Timeout: 1})) // the only worker is taken
	as[*pool.TimeoutError](t, err)
	if err := os.Remove(d.SetupFails); err != nil {
		t.Fatal(err)
	}
	worker := must[int](t)(hookedPid.Call(ctx, co))
	co.Release()
	equal(t, "the worker is kept", must[int](t)(hookedPid.Call(ctx, p)), worker)

	write(t, d.SetupFails, "it is missing again")
	other := newPool(t, pool.Unix(path), pool.Config{Wire: wire.JSON, MaxWorkers: 1, ReuseAfterError: true})
	for range 2 {
		_, err = hookedPid.Call(ctx, other)
		as[*wire.SetupError](t, err)
	}
	os.Remove(d.SetupFails)
	_, err = hookedPid.Call(ctx, other) // on a worker that was connected before, or on a new one
	if err != nil {
		as[*wire.SetupError](t, err)
	}
	must[int](t)(hookedPid.Call(ctx, other))
	if n := other.Stat().Ends["setup failed"]; n < 2 {
		t.Errorf("workers ended for it: %d", n)
	}
}
