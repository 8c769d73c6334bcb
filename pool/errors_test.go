//go:build linux || darwin

package pool_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

func TestErrorClearsTheQueueAndNothingElse(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, sharedServer(t), pool.Config{Wire: kind, MaxWorkers: 1})
		ctx, g, co := limited(t), newGate(t), checkout(t, p)
		before := must[int](t)(pid.Call(ctx, co))
		running := hold.Go(ctx, co, g.path)
		failing := fail.Go(ctx, co, "grüße")
		queued := remember.Go(ctx, co, 1)
		qctx, isQueued := queuing(ctx)
		blocked := background(func() ([]int, error) { return remember.Call(qctx, co, 2) })
		recv(t, isQueued)
		last := remember.Go(ctx, co, 3)
		g.next(t).open()

		equal(t, "the call before", must[int](t)(running.Wait()), before)
		_, err := failing.Wait()
		first := as[*wire.RemoteError](t, err)
		equal(t, "the message", first.Error(), "grüße")
		equal(t, "the code", first.Code, "E_FAIL")
		_, err1 := queued.Wait()
		_, err3 := last.Wait()
		for _, err := range []error{err1, recv(t, blocked).err, err3} {
			skipped := as[*pool.SkippedError](t, err)
			equal(t, "the skipped method", skipped.Method, "remember")
			equal(t, "what it wraps", as[*wire.RemoteError](t, err), first)
			equal(t, "safe to retry", wire.SafeToRetry(err), true)
		}
		got := must[[]int](t)(remember.Call(ctx, co, 4))
		if len(got) != 1 || got[0] != 4 {
			t.Errorf("skipped calls have run: %v", got)
		}
		equal(t, "the worker", must[int](t)(pid.Call(ctx, co)), before)
	})
}

func TestWorkerIsRetiredOrKeptAfterAnError(t *testing.T) {
	t.Parallel()
	failure := func(c wire.Caller) error { _, err := fail.Call(t.Context(), c, "no"); return err }
	panics := func(c wire.Caller) error { _, err := explode.Call(t.Context(), c, "boom"); return err }
	for name, test := range map[string]struct {
		call   func(wire.Caller) error
		reuse  bool
		kept   bool
		reason string
	}{
		"error":               {failure, false, false, "error"},
		"error, reuse":        {failure, true, true, ""},
		"panic":               {panics, false, false, "panic"},
		"panic, reuse":        {panics, true, false, "panic"},
		"no error":            {func(wire.Caller) error { return nil }, false, true, ""},
		"not encodable":       {func(c wire.Caller) error { _, err := echo.Call(t.Context(), c, make(chan int)); return err }, false, true, ""},
		"unknown, reuse":      {func(c wire.Caller) error { return c.Do(t.Context(), &wire.Call{Method: "?"}) }, true, true, ""},
		"goexit, reuse":       {func(c wire.Caller) error { _, err := goexit.Call(t.Context(), c); return err }, true, false, "panic"},
		"error before, reuse": {func(c wire.Caller) error { failure(c); _, err := pid.Call(t.Context(), c); return err }, true, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1, ReuseAfterError: test.reuse})
			// by a checkout
			co := checkout(t, p)
			before := co.Pid()
			err := test.call(co)
			if strings.HasPrefix(name, "panic") {
				re := as[*wire.RemoteError](t, err)
				if re.Type != wire.TypePanic || !strings.Contains(re.Stack, "service_test.go") || !strings.Contains(re.Error(), "boom") {
					t.Errorf("the panic arrived as %+v", re)
				}
			}
			if !strings.HasPrefix(name, "goexit") { // which ends its worker
				equal(t, "the worker in the checkout", must[int](t)(pid.Call(limited(t), co)), before)
			}
			co.Release()
			after := must[int](t)(pid.Call(limited(t), p))
			equal(t, "the worker was kept", after == before, test.kept)
			// by the pool
			test.call(p)
			equal(t, "the worker was kept by the pool", must[int](t)(pid.Call(limited(t), p)) == after, test.kept)
			if test.reason != "" {
				equal(t, "workers ended for it", p.Stat().Ends[test.reason], 2)
			}
			equal(t, "workers had", p.Stat().Connects, map[bool]int64{true: 1, false: 3}[test.kept])
		})
	}
}

func TestAbortEndsTheRunningCallAndSticks(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, sharedServer(t), pool.Config{Wire: kind, MaxWorkers: 1})
		ctx, g, co := limited(t), newGate(t), checkout(t, p)
		running, queued := hold.Go(ctx, co, g.path), pid.Go(ctx, co)
		h := g.next(t)
		mine := errors.New("enough")
		co.Abort(mine)
		h.gone(t)
		_, err := running.Wait()
		equal(t, "the running call", err, mine)
		_, err = queued.Wait()
		is(t, err, mine)
		for range 2 {
			_, err = pid.Call(ctx, co)
			equal(t, "a later call", err, mine)
		}
		co.Abort(errors.New("too late"))
		_, err = pid.Go(ctx, co).Wait()
		equal(t, "the first Abort sticks", err, mine)
		co.Release()
		co.Abort(errors.New("far too late"))
		must[int](t)(pid.Call(ctx, p))

		idle := checkout(t, p)
		idle.Abort(nil)
		_, err = pid.Call(ctx, idle)
		equal(t, "a call after Abort(nil)", err, pool.ErrAborted)
		must[int](t)(pid.Call(ctx, p)) // though the checkout isn't released
		equal(t, "workers aborted", p.Stat().Ends["aborted"], 2)
	})
}

func TestWorkerThatExitsFailsItsCallAtOnce(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	ctx, g, co := limited(t), newGate(t), checkout(t, p)
	held := hold.Go(ctx, co, g.path)
	exiting := exit.Go(ctx, co, 3, "famous last words\nand more\n")
	queued := pid.Go(ctx, co)
	g.next(t).open()
	must[int](t)(held.Wait())

	_, err := exiting.Wait()
	died := as[*pool.WorkerDiedError](t, err)
	equal(t, "the exit code", died.Exit.Code, 3)
	equal(t, "the reason", died.Exit.Reason, wire.ExitExited)
	equal(t, "stderr", died.Exit.Stderr(), "famous last words\nand more\n")
	equal(t, "the pid", died.Pid, co.Pid())
	equal(t, "the method", died.Method, "exit")
	equal(t, "the pool", died.Pool, t.Name())
	equal(t, "safe to retry", wire.SafeToRetry(err), false)
	if !strings.Contains(err.Error(), "exit code 3") || !strings.Contains(err.Error(), "famous last words") {
		t.Errorf("the error says only %q", err)
	}
	_, qerr := queued.Wait()
	equal(t, "the queued call's cause", as[*pool.WorkerDiedError](t, qerr), died)
	equal(t, "the queued call is safe to retry", wire.SafeToRetry(qerr), true)
	for range 2 {
		_, again := pid.Call(ctx, co)
		equal(t, "a later call", again, err)
	}
	must[int](t)(pid.Call(ctx, p)) // the slot is free again before the checkout's release
	co.Release()
	equal(t, "workers died", p.Stat().Ends["died"], 1)
}

func TestWorkerThatIsKilledTellsByWhat(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		signal syscall.Signal
		reason wire.ExitReason
	}{
		"SIGKILL": {syscall.SIGKILL, wire.ExitKilled},
		"SIGSEGV": {syscall.SIGSEGV, wire.ExitCrashed},
		"SIGABRT": {syscall.SIGABRT, wire.ExitCrashed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 2})
			ctx, g := limited(t), newGate(t)
			victim, other := hold.Go(ctx, p, g.path), newGate(t)
			bystander := hold.Go(ctx, p, other.path)
			neighbour := other.next(t)
			syscall.Kill(g.next(t).pid, test.signal)
			_, err := victim.Wait()
			died := as[*pool.WorkerDiedError](t, err)
			if r := died.Exit.Reason; r != test.reason && !maybeOOM(died.Exit) {
				t.Errorf("the reason is %q instead of %q", r, test.reason)
			}
			if died.Exit.Signal != int(test.signal) && died.Exit.Code != 2 {
				t.Errorf("it ended by %v", died.Exit)
			}
			neighbour.open()
			must[int](t)(bystander.Wait())
		})
	}
}

// maybeOOM reports whether a SIGKILL was taken for the kernel's: while something else on the machine runs out of memory,
// a server can't tell them apart.
func maybeOOM(e *wire.Exit) bool {
	return e.Reason == wire.ExitOutOfMemory && e.Signal == int(syscall.SIGKILL)
}

// TestWorkerThatDiesUnderNoCallHurtsNobody kills an idle worker, and one that is checked out while it does nothing.
func TestWorkerThatDiesUnderNoCallHurtsNobody(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	ctx := limited(t)
	syscall.Kill(must[int](t)(pid.Call(ctx, p)), syscall.SIGKILL)
	until(t, "the dead worker is noticed", func() bool { return p.Stat().Ends["died"] == 1 })

	co := checkout(t, p)
	qctx, waits := queuing(ctx)
	other := background(func() (int, error) { return pid.Call(qctx, p) })
	recv(t, waits)
	syscall.Kill(co.Pid(), syscall.SIGKILL)
	if r := recv(t, other); r.err != nil || r.val == co.Pid() {
		t.Errorf("who waits for a worker got %v", r)
	}
	_, err := pid.Call(ctx, co)
	if e := as[*pool.WorkerDiedError](t, err).Exit; e.Reason != wire.ExitKilled && !maybeOOM(e) {
		t.Errorf("it ended by %v", e)
	}
	equal(t, "safe to retry", wire.SafeToRetry(err), true)
	co.Release()
	equal(t, "workers died", p.Stat().Ends["died"], 2)
}
