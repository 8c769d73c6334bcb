//go:build linux || darwin

package pool_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func TestQueuedCallsRunInOrderOnOneWorkerBeforeTheNextCheckout(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, sharedServer(t), pool.Config{Wire: kind, MaxWorkers: 1})
		ctx, g, co := limited(t), newGate(t), checkout(t, p)
		hold.Go(ctx, co, g.path)
		qctx, waits := queuing(ctx)
		next := background(func() ([]int, error) { return remember.Call(qctx, p, 100) })
		recv(t, waits)
		var want []int
		var calls []*wire.Pending[[]int]
		for i := range 50 {
			want = append(want, i)
			calls = append(calls, remember.Go(ctx, co, i))
		}
		g.next(t).open()
		for i, c := range calls {
			if got := must[[]int](t)(c.Wait()); !slices.Equal(got, want[:i+1]) {
				t.Fatalf("call %d saw %v", i, got)
			}
		}
		if cost := calls[49].Cost(); cost.Queued <= calls[49].Cost().Run || cost.Queued <= 0 {
			t.Errorf("the last call was queued for %v", cost.Queued)
		}
		select {
		case r := <-next:
			t.Errorf("the next checkout got the worker before its release: %v", r)
		default:
		}
		co.Release()
		if got := recv(t, next); !slices.Equal(got.val, append(want, 100)) {
			t.Errorf("the next checkout saw %v, %v", got.val, got.err)
		}
	})
}

// TestHundredCheckoutsOnFiveWorkers lets the checkouts go one by one, so that each must get its worker in its turn.
func TestHundredCheckoutsOnFiveWorkers(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 5})
	type turn struct {
		n  int
		co *pool.Checkout
	}
	var out []*pool.Checkout
	pids := map[int]bool{}
	for range 5 {
		co := checkout(t, p)
		out = append(out, co)
		pids[co.Pid()] = true
	}
	served := make(chan turn)
	for n := range 95 {
		ctx, waits := queuing(limited(t))
		go func() {
			co, err := p.Checkout(ctx)
			if err != nil {
				t.Error(err)
			}
			served <- turn{n, co}
		}()
		recv(t, waits)
	}
	equal(t, "waiting", p.Stat().Waiting, 95)
	for n := range 95 {
		must[int](t)(pid.Call(limited(t), out[0]))
		out[0].Release()
		got := recv(t, served)
		equal(t, "the turn", got.n, n)
		if !pids[got.co.Pid()] {
			t.Errorf("checkout %d has worker %d, which is none of the five", n, got.co.Pid())
		}
		out = append(out[1:], got.co)
	}
	for _, co := range out {
		co.Release()
	}
	s := p.Stat()
	if s.Checkouts != 100 || s.Waited != 100 || s.Total != 5 || s.Idle != 5 || len(pids) != 5 || s.Connects != 5 {
		t.Errorf("%+v", s)
	}
}

func TestGoOnAPoolKeepsTheOrder(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	var calls []*wire.Pending[[]int]
	for i := range 100 {
		calls = append(calls, remember.Go(limited(t), p, i))
	}
	for i, c := range calls {
		if got := must[[]int](t)(c.Wait()); len(got) != i+1 || got[i] != i {
			t.Fatalf("call %d came in place %d: %v", i, len(got)-1, got)
		}
	}
}

func TestQueueIsFull(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{-1, 1, 3} {
		p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 2, MaxQueue: limit})
		ctx, g := limited(t), newGate(t)
		running := []*wire.Pending[int]{hold.Go(ctx, p, g.path), hold.Go(ctx, p, g.path)}
		holders := []*held{g.next(t), g.next(t)}
		for range max(limit, 0) {
			running = append(running, pid.Go(ctx, p))
		}
		for range 2 {
			_, err := p.Checkout(ctx)
			is(t, err, pool.ErrQueueFull)
			_, err = pid.Go(ctx, p).Wait()
			is(t, err, pool.ErrQueueFull)
		}
		equal(t, "refused", p.Stat().Refused, 4)
		for _, h := range holders {
			h.open()
		}
		for _, r := range running {
			must[int](t)(r.Wait())
		}
	}
}

func TestWhoGivesUpWaitingLeavesTheQueue(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	ctx, co := limited(t), checkout(t, p)
	cctx, cancel := context.WithCancelCause(ctx)
	qctx, waits := queuing(cctx)
	first := background(func() (*pool.Checkout, error) { return p.Checkout(qctx) })
	recv(t, waits)
	second := pid.Go(ctx, p)
	why := errors.New("changed my mind")
	cancel(why)
	err := recv(t, first).err
	is(t, err, context.Canceled)
	is(t, err, why)
	as[*pool.CanceledError](t, err)
	s := p.Stat()
	if s.Canceled != 1 || s.Waiting != 1 {
		t.Errorf("%+v", s)
	}
	co.Release()
	equal(t, "who stood behind", must[int](t)(second.Wait()), co.Pid())
}

func TestQueuedCallThatIsCanceledIsNotRun(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	ctx, g, co := limited(t), newGate(t), checkout(t, p)
	running := hold.Go(ctx, co, g.path)
	cctx, cancel := context.WithCancel(ctx)
	qctx, waits := queuing(cctx)
	gaveUp := background(func() ([]int, error) { return remember.Call(qctx, co, 1) })
	recv(t, waits)
	stays := remember.Go(ctx, co, 2)
	cancel()
	is(t, recv(t, gaveUp).err, context.Canceled)
	g.next(t).open()
	must[int](t)(running.Wait())
	if got := must[[]int](t)(stays.Wait()); !slices.Equal(got, []int{2}) {
		t.Errorf("the calls that ran: %v", got)
	}
}

// A standby is handed out before it has said hello. Whoever waits may look at it while its holder reads that.
func TestWaitBehindAStandby(t *testing.T) {
	t.Parallel()
	ev := newEvents()
	srv := start(t, plain, forkserver.Config{OnEvent: ev.on, Limits: server.Limits{Standby: 1}})
	ev.wait(t, server.WorkerReady, 1)
	p := newPool(t, srv, pool.Config{MaxWorkers: 1})
	ctx, g := limited(t), newGate(t)
	running := hold.Go(ctx, p, g.path)
	h := g.next(t)
	_, err := p.With(pool.CheckoutConfig{Timeout: 20 * time.Millisecond}).Checkout(ctx)
	e := as[*pool.TimeoutError](t, err)
	if len(e.Holders) != 1 || e.Holders[0].Pid != h.pid && e.Holders[0].Pid != 0 || e.Holders[0].Method != "hold" {
		t.Errorf("holders %+v; want pid %d, or 0 if its hello was not read yet", e.Holders, h.pid)
	}
	h.open()
	must[int](t)(running.Wait())
}

// TestWaitThatTimesOut says who holds the workers meanwhile.
func TestWaitThatTimesOut(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	ctx, g, co := limited(t), newGate(t), checkout(t, p)
	running := hold.Go(ctx, co, g.path)
	h := g.next(t)
	short := p.With(pool.CheckoutConfig{Timeout: 20 * time.Millisecond})
	soon, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	for what, wait := range map[string]func() error{
		"a checkout":              func() error { _, err := short.Checkout(ctx); return err },
		"a call":                  func() error { _, err := pid.Call(ctx, short); return err },
		"a checkout's ctx":        func() error { _, err := p.Checkout(soon); return err },
		"a call that Go has made": func() error { _, err := pid.Go(ctx, short).Wait(); return err },
	} {
		err := wait()
		is(t, err, context.DeadlineExceeded)
		e := as[*pool.TimeoutError](t, err)
		if what == "a checkout's ctx" && e.Waited < time.Millisecond && len(e.Holders) == 0 {
			continue // the context had ended already
		}
		if e.Ran != 0 || e.Waited <= 0 || !wire.SafeToRetry(err) || len(e.Holders) != 1 ||
			e.Holders[0].Pid != co.Pid() || e.Holders[0].Method != "hold" {
			t.Errorf("%s: %+v", what, e)
		}
		if !strings.Contains(err.Error(), `("hold")`) {
			t.Errorf("%s: the error says only %q", what, err)
		}
	}
	h.open()
	must[int](t)(running.Wait())
	co.Release()
	must[int](t)(pid.Call(ctx, p))
	equal(t, "who waited in vain", p.Stat().Waiting, 0)
}

// TestWaitsOfAllLengths has checkouts wait in one queue whose timeouts are longer and shorter than those before them, and
// some that have none. Some leave. Three times over, behind those that are left.
func TestWaitsOfAllLengths(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	ctx, held := limited(t), checkout(t, p)
	queue := func(timeout time.Duration) (got <-chan result[*pool.Checkout], leave context.CancelFunc) {
		cctx, leave := context.WithCancel(ctx)
		t.Cleanup(leave)
		qctx, waits := queuing(cctx)
		got = background(func() (*pool.Checkout, error) {
			return p.With(pool.CheckoutConfig{Timeout: timeout}).Checkout(qctx)
		})
		recv(t, waits)
		return got, leave
	}
	var stay []<-chan result[*pool.Checkout]
	for range 3 {
		_, leave := queue(20 * ms) // unless it is late by then
		short := map[<-chan result[*pool.Checkout]]time.Duration{}
		for _, d := range []time.Duration{20 * ms, 40 * ms, -1, 40 * ms, 10 * ms, 60 * ms} {
			got, _ := queue(d)
			if d > 0 {
				short[got] = d
			} else {
				stay = append(stay, got)
			}
		}
		leave()
		gone, leave := queue(time.Hour)
		got, _ := queue(30 * ms)
		short[got] = 30 * ms
		leave()
		as[*pool.CanceledError](t, recv(t, gone).err)
		for got, d := range short {
			if e := as[*pool.TimeoutError](t, recv(t, got).err); e.Waited < d {
				t.Errorf("a wait of %v ended after %v", d, e.Waited)
			}
		}
		until(t, "all others have left", func() bool { return p.Stat().Waiting == len(stay) })
	}
	for _, d := range []time.Duration{2 * time.Hour, time.Hour} {
		got, _ := queue(d)
		stay = append(stay, got)
	}
	for i, got := range stay {
		held.Release()
		r := recv(t, got)
		if r.err != nil {
			t.Fatalf("wait %d of %d: %v", i, len(stay), r.err)
		}
		equal(t, "those behind", p.Stat().Waiting, len(stay)-1-i)
		held = r.val
	}
	next, _ := queue(time.Hour) // in a queue that was emptied
	equal(t, "who waits", p.Stat().Waiting, 1)
	held.Release()
	if r := recv(t, next); r.err != nil {
		t.Fatal(r.err)
	}
}

// TestWaitThatEndsInTwoWaysAtOnce cancels waits in the moment in which they time out.
func TestWaitThatEndsInTwoWaysAtOnce(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	ctx, held := limited(t), checkout(t, p)
	defer held.Release()
	for range 20 {
		const d = 20 * time.Millisecond
		view := p.With(pool.CheckoutConfig{Timeout: d})
		cctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var all []<-chan result[*pool.Checkout]
		for range 200 {
			all = append(all, background(func() (*pool.Checkout, error) { return view.Checkout(cctx) }))
		}
		time.AfterFunc(d, cancel) // the waits' own time is over from then on
		for _, got := range all {
			r := recv(t, got)
			var late *pool.TimeoutError
			var canceled *pool.CanceledError
			if !errors.As(r.err, &late) && !errors.As(r.err, &canceled) {
				t.Fatalf("the wait got %v, %v", r.val, r.err)
			}
		}
	}
	equal(t, "those that wait", p.Stat().Waiting, 0)
}

// TestCallThatNoWorkerHasReadIsSentAgain kills a stopped worker that a call was sent to. One that may have been read is
// never sent again.
func TestCallThatNoWorkerHasReadIsSentAgain(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	ctx := limited(t)
	for _, size := range []int{10, 1 << 20} { // within the socket's buffer, and more
		text := strings.Repeat("x", size)
		victim := must[int](t)(pid.Call(ctx, p))
		stop(t, victim)
		call := echoText.Go(ctx, p, text)
		until(t, "the call is under way", func() bool { return p.Stat().Acquired == 1 })
		syscall.Kill(victim, syscall.SIGKILL)
		if got := must[string](t)(call.Wait()); got != text {
			t.Errorf("the call got %.20q", got)
		}

		co := checkout(t, p)
		stop(t, co.Pid())
		call = echoText.Go(ctx, co, text)
		syscall.Kill(co.Pid(), syscall.SIGKILL)
		_, err := call.Wait()
		equal(t, "safe to retry", wire.SafeToRetry(err), true)
		equal(t, "unread", as[*pool.WorkerDiedError](t, err).Unread, true)
		co.Release()
	}
}

// TestCallThatWasReadIsNotSentAgain ends workers in the call. The JSON wire has a newline behind each message, which a
// worker may have left unread; a reset of the connection proves nothing there.
func TestCallThatWasReadIsNotSentAgain(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, sharedServer(t), pool.Config{Wire: kind, MaxWorkers: 4})
		file := tempFile(t, "notes")
		const frame = len(`["do",{},"note and exit",,""]`) // and what a worker's first buffer holds: 4 KiB
		var calls []*wire.Pending[wire.None]
		for size := 4<<10 - frame - len(file) - 4; size < 4<<10-frame-len(file)+4; size++ {
			calls = append(calls, noteAndExit.Go(limited(t), p, file, strings.Repeat("x", size)))
		}
		for _, c := range calls {
			_, err := c.Wait()
			equal(t, "unread", as[*pool.WorkerDiedError](t, err).Unread, false)
		}
		equal(t, "runs", countLines(file), len(calls))
	})
}
