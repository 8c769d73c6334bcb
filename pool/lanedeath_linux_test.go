package pool_test

import (
	"bytes"
	"errors"
	"syscall"
	"testing"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

func TestLaneWorkerDiesInACall(t *testing.T) {
	t.Parallel()
	for sig, reason := range map[syscall.Signal]wire.ExitReason{syscall.SIGKILL: wire.ExitKilled, syscall.SIGSEGV: wire.ExitCrashed} {
		p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
		g, co := newGate(t), onLane(t, p)
		call := hold.Go(limited(t), co, g.path)
		syscall.Kill(g.next(t).pid, sig)
		_, err := call.Wait()
		died := as[*pool.WorkerDiedError](t, err)
		equal(t, "the reason", died.Exit.Reason, reason)
		equal(t, "unread", died.Unread, false)
		equal(t, "workers that share memory", p.Stat().SharedMemory, 0)
		_, again := pid.Call(limited(t), co)
		equal(t, "a later call", again, err)
		co.Release()
		onLane(t, p)
	}
}

// A worker that has closed its descriptors could reply through the memory, but it fails the call, as without it.
func TestLaneWorkerThatClosesEverything(t *testing.T) {
	t.Parallel()
	for range 10 {
		p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
		co := onLane(t, p)
		for range 1000 { // until both look before they sleep
			must[int](t)(pid.Call(limited(t), co))
		}
		_, err := shut.Call(limited(t), co)
		co.Release()
		as[*pool.WorkerDiedError](t, err)
		if next := must[int](t)(pid.Call(limited(t), p)); next == co.Pid() {
			t.Error("the worker without descriptors was used again")
		}
		equal(t, "workers that died", p.Stat().Ends["died"], 1)
	}
}

// A call into a worker that dies without having read it goes to the next one, and runs once, however far it was written.
func TestLaneCallThatWasNotReadIsSentAgain(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSEGV} {
		p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
		co := onLane(t, p)
		victim, file := co.Pid(), tempFile(t, "notes")
		co.Release()
		stop(t, victim)
		call := note.Go(limited(t), p, file)
		until(t, "the call is under way", func() bool { return p.Stat().Acquired == 1 })
		syscall.Kill(victim, sig)
		syscall.Kill(victim, syscall.SIGCONT) // or a stopped process does not crash; it may well have read the call then,
		by, err := call.Wait()
		if died := new(pool.WorkerDiedError); sig == syscall.SIGSEGV && errors.As(err, &died) && !died.Unread {
			continue
		}
		if sig == syscall.SIGSEGV && err == nil && by == victim && countLines(file) == 1 {
			continue // and even have answered it on another thread before it crashed
		}
		if err != nil || by == victim || countLines(file) != 1 {
			t.Errorf("after %v: by %d (%d), %v; it ran %d times", sig, by, victim, err, countLines(file))
		}
	}

	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	co := onLane(t, p)
	stop(t, co.Pid())
	call := writing(t, limited(t), co)
	syscall.Kill(co.Pid(), syscall.SIGKILL)
	_, err := call.Wait()
	equal(t, "safe to retry", wire.SafeToRetry(err), true)
}

// TestLaneCallThatWasReadIsNotSentAgain has calls end their workers: each at once, and as the first or a later one on its
// lane, when whoever reads it was asleep or looking.
func TestLaneCallThatWasReadIsNotSentAgain(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 2})
	file := tempFile(t, "notes")
	const calls = 30
	for i := range calls {
		warm(t, p)
		for range i {
			must[int](t)(pid.Call(limited(t), p))
		}
		var err error
		if i%3 == 0 {
			_, err = clearAndDie.Call(limited(t), p, file)
		} else {
			_, err = noteAndExit.Call(limited(t), p, file, "x")
		}
		if !typed(err) || wire.SafeToRetry(err) { // that the memory is corrupt may come out before the death
			t.Errorf("%T: %v", err, err)
		}
	}
	equal(t, "runs", countLines(file), calls)
}

// A worker that has cleared the memory and died, on the first call of the lane, looks as if it had read nothing.
func TestLaneClearedOnTheFirstCall(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	file := tempFile(t, "notes")
	must[int](t)(pid.Call(limited(t), p))
	must[int](t)(size.Call(limited(t), p, make([]byte, 512<<10)))
	_, err := clearAndDie.Call(limited(t), p, file) // the lane comes with it
	equal(t, "safe to retry", wire.SafeToRetry(err), false)
	equal(t, "runs", countLines(file), 1)
}

// A worker dies while the app writes a large call, or reads a large reply.
func TestLaneWorkerDiesInTheMiddleOfAMessage(t *testing.T) {
	t.Parallel()
	for _, memory := range laneSizes {
		p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1, SharedMemory: memory})
		co, sent := onLane(t, p), pattern(32<<20)
		victim := co.Pid()
		must[[]byte](t)(dawdle.Call(limited(t), co, "", "die reading"))
		co.Release()
		if got := must[[]byte](t)(echoBytes.Call(limited(t), p, sent)); !bytes.Equal(got, sent) { // the next one answers it
			t.Error("other bytes have come back")
		}
		if now := must[int](t)(pid.Call(limited(t), p)); now == victim {
			t.Error("the worker lives")
		}
		equal(t, "workers died", p.Stat().Ends["died"], 1)

		co = onLane(t, p)
		_, err := dawdle.Call(limited(t), co, "", "die")
		died := as[*pool.WorkerDiedError](t, err)
		equal(t, "the reason", died.Exit.Reason, wire.ExitKilled)
		equal(t, "unread", died.Unread, false)
		co.Release()
		must[int](t)(pid.Call(limited(t), p))
		equal(t, "workers died", p.Stat().Ends["died"], 2)
	}
}

func TestLaneServerDies(t *testing.T) {
	t.Parallel()
	srv := start(t, plain, forkserver.Config{})
	p := newPool(t, srv, pool.Config{MaxWorkers: 2})
	g, co, idle := newGate(t), onLane(t, p), onLane(t, p)
	idle.Release()
	call := hold.Go(limited(t), co, g.path)
	h := g.next(t)
	syscall.Kill(srv.Pid(), syscall.SIGKILL)
	_, err := call.Wait()
	equal(t, "the reason", as[*pool.WorkerDiedError](t, err).Exit.Reason, wire.ExitServerDied)
	h.gone(t)
	co.Release()
	until(t, "the pool works on", func() bool {
		_, err := pid.Call(limited(t), p)
		return err == nil
	})
	onLane(t, p)
}
