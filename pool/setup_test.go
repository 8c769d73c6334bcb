//go:build linux || darwin

package pool_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// startHooked starts the service hooked with files for its hooks.
func startHooked(t *testing.T, c forkserver.Config) (*forkserver.Process, hookData) {
	t.Helper()
	dir := t.TempDir()
	d := hookData{SetupLog: dir + "/setup", SetupFails: dir + "/fails", DoneLog: dir + "/done"}
	c.SetupData = d
	return start(t, hooked, c), d
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSetupRunsOncePerWorker(t *testing.T) {
	t.Parallel()
	srv, d := startHooked(t, forkserver.Config{})
	p := newPool(t, srv, pool.Config{MaxWorkers: 2})
	a, b := checkout(t, p), checkout(t, p)
	for _, co := range []*pool.Checkout{a, b} {
		for range 3 {
			must[int](t)(hookedPid.Call(limited(t), co))
		}
		co.Release()
	}
	for range 5 {
		must[int](t)(hookedPid.Call(limited(t), p))
	}
	log, _ := os.ReadFile(d.SetupLog)
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	if len(lines) != 2 || lines[0] == lines[1] || !strings.Contains(string(log), fmt.Sprint(a.Pid())) ||
		!strings.Contains(string(log), fmt.Sprint(b.Pid())) {
		t.Errorf("Setup ran in %q, the workers are %d and %d", lines, a.Pid(), b.Pid())
	}
}

func TestSetupErrorArrivesAndSetupIsTriedAgain(t *testing.T) {
	t.Parallel()
	for how, test := range map[string]struct{ message, typ, code string }{
		"the table is missing": {"the table is missing", "*errors.errorString", "E_HOOK"},
		"panic":                {"the hook panicked", wire.TypePanic, ""},
		"never return":         {"did not return within SetupTimeout", "", ""},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			limits := server.Limits{}
			if how == "never return" {
				limits.SetupTimeout = time.Second
			}
			srv, d := startHooked(t, forkserver.Config{Limits: limits})
			write(t, d.SetupFails, how)
			logs := newRecords()
			p := newPool(t, srv, pool.Config{MaxWorkers: 1, Logger: logs})
			for range 2 {
				_, err := hookedPid.Call(limited(t), p)
				e := as[*wire.SetupError](t, err)
				if !strings.Contains(e.Message, test.message) || test.typ != "" && e.Type != test.typ || e.Code != test.code ||
					e.Pid == 0 || !wire.SafeToRetry(err) {
					t.Errorf("%+v", e)
				}
			}
			_, err := p.Checkout(limited(t))
			as[*wire.SetupError](t, err)
			s := p.Stat()
			if s.LastError == nil || s.Failures < 3 || s.Total != 0 {
				t.Errorf("%+v", s)
			}
			until(t, "it is logged", func() bool { return logs.has(test.message) })

			os.Remove(d.SetupFails)
			before := p.Stat().Failures
			ok := false
			for !ok {
				_, err := hookedPid.Call(limited(t), p) // one try may have begun before
				if ok = err == nil; !ok {
					as[*wire.SetupError](t, err)
				}
			}
			if n := p.Stat().Failures - before; n > 1 { // the next try comes within a second
				t.Errorf("%d tries have failed after the cause had gone", n)
			}
			equal(t, "the last error", p.Stat().LastError, nil)
		})
	}
}

func TestWorkerThatDiesInSetupIsAnError(t *testing.T) {
	t.Parallel()
	srv, d := startHooked(t, forkserver.Config{})
	write(t, d.SetupFails, "exit")
	_, err := hookedPid.Call(limited(t), newPool(t, srv, pool.Config{}))
	equal(t, "the exit code", as[*pool.WorkerDiedError](t, err).Exit.Code, 5)
	equal(t, "safe to retry", wire.SafeToRetry(err), true)
}

// TestFailingSetupHurtsNobodyWhoCanBeServed has a worker that works, while no other can be set up.
func TestFailingSetupHurtsNobodyWhoCanBeServed(t *testing.T) {
	t.Parallel()
	srv, d := startHooked(t, forkserver.Config{})
	p := newPool(t, srv, pool.Config{MaxWorkers: 3})
	ctx, co := limited(t), checkout(t, p)
	write(t, d.SetupFails, "no more")
	waits := hookedPid.Go(ctx, p)
	until(t, "setup has failed", func() bool { return p.Stat().Failures > 0 })
	co.Release()
	equal(t, "the worker", must[int](t)(waits.Wait()), co.Pid())
}

func TestFailingSetupFailsTheFirstWhoWaitsAndTheOthersKeepTheirPlace(t *testing.T) {
	t.Parallel()
	srv, d := startHooked(t, forkserver.Config{})
	write(t, d.SetupFails, "not yet")
	p := newPool(t, srv, pool.Config{MaxWorkers: 1})
	ctx := limited(t)
	first, second, third := hookedPid.Go(ctx, p), hookedPid.Go(ctx, p), hookedPid.Go(ctx, p)
	_, err := first.Wait()
	as[*wire.SetupError](t, err)
	os.Remove(d.SetupFails)
	_, err = second.Wait() // the next try may have begun before
	if err != nil {
		as[*wire.SetupError](t, err)
	}
	must[int](t)(third.Wait())
}

func TestCheckoutDoneRunsAfterEveryRelease(t *testing.T) {
	t.Parallel()
	srv, d := startHooked(t, forkserver.Config{})
	p := newPool(t, srv, pool.Config{MaxWorkers: 1, ReuseAfterError: true})
	ctx := limited(t)
	// By the next checkout, the hook of the one before has run.
	done := func(what string, want int) {
		t.Helper()
		co := checkout(t, p)
		equal(t, "hooks after "+what, countLines(d.DoneLog), want)
		co.Release()
	}
	must[int](t)(hookedPid.Call(ctx, p))
	done("a pool's call", 1)
	done("a checkout without a call", 2)
	co := checkout(t, p)
	for range 3 {
		must[int](t)(hookedPid.Call(ctx, co))
	}
	co.Release()
	co.Release()
	done("a checkout with three calls, released twice", 4)
	_, err := hookedFail.Call(ctx, p, "no")
	as[*wire.RemoteError](t, err)
	done("a pool's call that failed", 6)
	as[*wire.CodecError](t, p.Call(ctx, nil, "pid", make(chan int)))
	done("a pool's call that could not be sent", 8)
	co = checkout(t, p)
	hookedFail.Call(ctx, co, "no")
	co.Release()
	done("a checkout with an error", 10)
	equal(t, "workers had", p.Stat().Connects, 1)
}

// TestCheckoutDoneRunsInAWorkerThatIsRetired: it is alive when it is released.
func TestCheckoutDoneRunsInAWorkerThatIsRetired(t *testing.T) {
	t.Parallel()
	srv, d := startHooked(t, forkserver.Config{})
	ctx := limited(t)
	failing := newPool(t, srv, pool.Config{MaxWorkers: 1})
	spent := newPool(t, srv, pool.Config{MaxWorkers: 1, MaxCheckouts: 1})
	for i, use := range []func(){
		func() { co := checkout(t, failing); hookedFail.Call(ctx, co, "no"); co.Release() },
		func() { hookedFail.Call(ctx, failing, "no") },
		func() { checkout(t, spent).Release() },
		func() { must[int](t)(hookedPid.Call(ctx, spent)) },
	} {
		use()
		until(t, "the hook has run", func() bool { return countLines(d.DoneLog) == i+1 })
	}
	until(t, "the workers were retired", func() bool {
		return failing.Stat().Ends["error"] == 2 && spent.Stat().Ends["max checkouts"] == 2
	})
}

func TestFailingCheckoutDoneRetiresTheWorker(t *testing.T) {
	t.Parallel()
	srv, d := startHooked(t, forkserver.Config{Limits: server.Limits{HungTimeout: time.Second}})
	logs := newRecords()
	p := newPool(t, srv, pool.Config{MaxWorkers: 1, ReuseAfterError: true, Logger: logs})
	ctx, last := limited(t), 0
	for i, how := range []string{"could not roll back", "panic", "exit", "never return"} {
		before := must[int](t)(failDone.Call(ctx, p, how)) // the hook fails right after this call
		if before == last {
			t.Errorf("worker %d was kept", before)
		}
		co := checkout(t, p)
		last = co.Pid()
		must[int](t)(failDone.Call(ctx, co, how))
		co.Release()
		if last == before {
			t.Errorf("worker %d was kept after %q", before, how)
		}
		must[int](t)(hookedPid.Call(ctx, p))
		equal(t, "workers ended for it", p.Stat().Ends["checkout done failed"], int64(2*i+2))
	}
	equal(t, "hooks", countLines(d.DoneLog) >= 8, true)
	for _, text := range []string{"could not roll back", "the hook panicked", "exit code 5", "hung"} {
		if !logs.has(text) {
			t.Errorf("the log says nothing of %q: %v", text, logs.get())
		}
	}
}
