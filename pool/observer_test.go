//go:build linux || darwin

package pool_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

// watcher is an observer's memory. Each start puts its name into the context.
type watcher struct {
	mu      sync.Mutex // guards all below
	all     []string
	calls   []pool.CallEnd
	costs   []wire.Cost
	waits   []pool.WaitEnd
	leaves  []pool.CheckoutEnd
	had     []pool.WorkerConnected
	ended   []pool.WorkerEnded
	panicIn string
}

type pathKey struct{}

// path tells which starts a context has come through.
func path(ctx context.Context) string {
	s, _ := ctx.Value(pathKey{}).(string)
	return s
}

// note remembers what happened, and where.
func (w *watcher) note(ctx context.Context, what string) context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, strings.TrimPrefix(path(ctx)+" > "+what, " > "))
	if w.panicIn == what {
		w.panicIn = ""
		panic("the observer panics in " + what)
	}
	return context.WithValue(ctx, pathKey{}, strings.TrimPrefix(path(ctx)+" > "+what, " > "))
}

func (w *watcher) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.all
	w.all = nil
	return all
}

func (w *watcher) arm(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.panicIn = what
}

func (w *watcher) observer() *pool.Observer {
	return &pool.Observer{
		CallStart: func(ctx context.Context, e pool.CallStart) context.Context {
			m := maps.Clone(e.Call.Meta)
			if m == nil {
				m = map[string]string{}
			}
			m["observer of"] = e.Call.Method
			e.Call.Meta = m
			return w.note(ctx, "call")
		},
		CallEnd: func(ctx context.Context, e pool.CallEnd) {
			w.note(ctx, "called")
			w.mu.Lock()
			defer w.mu.Unlock()
			w.calls, w.costs = append(w.calls, e), append(w.costs, e.Call.Cost)
		},
		WaitStart: func(ctx context.Context, e pool.WaitStart) context.Context {
			if e.Since.IsZero() || time.Since(e.Since) < 0 {
				panic(fmt.Sprint("a wait since ", e.Since))
			}
			return w.note(ctx, "wait")
		},
		WaitEnd: func(ctx context.Context, e pool.WaitEnd) {
			w.note(ctx, "waited")
			w.mu.Lock()
			defer w.mu.Unlock()
			w.waits = append(w.waits, e)
		},
		CheckoutStart: func(ctx context.Context, _ pool.CheckoutStart) context.Context { return w.note(ctx, "checkout") },
		CheckoutEnd: func(ctx context.Context, e pool.CheckoutEnd) {
			w.note(ctx, "released")
			w.mu.Lock()
			defer w.mu.Unlock()
			w.leaves = append(w.leaves, e)
		},
		WorkerConnected: func(e pool.WorkerConnected) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.had = append(w.had, e)
		},
		WorkerEnded: func(e pool.WorkerEnded) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ended = append(w.ended, e)
		},
	}
}

// alike fails the test unless the two are deeply equal.
func alike[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n%v instead of\n%v", what, got, want)
	}
}

func TestObserverOfCalls(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		w := &watcher{}
		p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1, MinWorkers: 1, Wire: kind, Observer: w.observer(), Timeout: patience})
		until(t, "the worker is connected", func() bool { return p.Stat().Idle == 1 })
		mine := map[string]string{"mine": "1"}
		call := &wire.Call{Method: "meta", Meta: mine, Reply: new(map[string]string)}
		if err := p.Do(limited(t), call); err != nil {
			t.Fatal(err)
		}
		alike(t, "a call", w.take(), []string{"call", "call > checkout", "call > checkout > released", "call > called"})
		alike(t, "what the handler gets", *call.Reply.(*map[string]string), map[string]string{"mine": "1", "observer of": "meta"})
		alike(t, "the caller's own", mine, map[string]string{"mine": "1"})

		g := newGate(t)
		first := hold.Go(limited(t), p, g.path)
		held := g.next(t)
		w.take()
		second := background(func() (map[string]string, error) { return meta.Call(limited(t), p) })
		until(t, "it waits", func() bool { return p.Stat().Waiting == 1 })
		held.open()
		must[int](t)(first.Wait())
		r := recv(t, second)
		must[map[string]string](t)(r.val, r.err)
		all := w.take()
		count := func(what string) (n int) {
			for _, s := range all {
				if s == what {
					n++
				}
			}
			return n
		}
		equal(t, "releases", count("call > checkout > released"), 2)
		equal(t, "calls that ended", count("call > called"), 2)
		for _, s := range []string{"call", "call > wait", "call > wait > waited", "call > checkout"} {
			equal(t, "the one that waited: "+s, count(s), 1)
		}
		if len(w.waits) != 1 || w.waits[0].Waited <= 0 || w.waits[0].Err != nil || w.waits[0].Pool != p.Name() {
			t.Errorf("waits: %+v", w.waits)
		}

		co := checkout(t, p)
		must[map[string]string](t)(meta.Call(context.WithValue(limited(t), pathKey{}, "mine"), co))
		must[map[string]string](t)(meta.Go(limited(t), co).Wait())
		co.Release()
		alike(t, "a checkout", w.take(), []string{"checkout", "mine > call", "mine > call > called", "call", "call > called", "checkout > released"})
		for _, c := range w.costs[:2] {
			if c.Run <= 0 {
				t.Errorf("a call cost %+v", c)
			}
		}
	})
}

// Each start has one end, however it comes to it.
func TestObserverSeesEveryEnd(t *testing.T) {
	t.Parallel()
	w := &watcher{}
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 2, MaxQueue: 2, Observer: w.observer(), Timeout: patience})
	short := p.With(pool.CheckoutConfig{Timeout: 10 * time.Millisecond})
	fail.Call(limited(t), p, "it")
	explode.Call(limited(t), p, "it")
	exit.Call(limited(t), p, 3, "")
	nap.Call(limited(t), short, time.Hour)
	func() { // what panics in the caller
		defer func() { recover() }()
		p.Call(limited(t), nil, "echo", panics{})
	}()
	a, b := checkout(t, p), checkout(t, p)
	_, err := pid.Call(limited(t), short) // waits in vain
	as[*pool.TimeoutError](t, err)
	ctx, cancel := context.WithCancel(limited(t))
	c := pid.Go(ctx, p)
	d := pid.Go(limited(t), p)
	_, err = pid.Call(limited(t), p)
	is(t, err, pool.ErrQueueFull)
	cancel()
	<-c.Done()
	g := newGate(t)
	running := hold.Go(limited(t), a, g.path)
	g.next(t)
	skipped := []<-chan struct{}{pid.Go(limited(t), a).Done(), pid.Go(limited(t), a).Done()}
	a.Abort(errors.New("enough"))
	pid.Go(limited(t), a)
	for _, done := range append(skipped, running.Done()) {
		recv(t, done)
	}
	a.Release()
	b.Release()
	<-d.Done()
	func() { checkoutAndDrop(t, p) }()
	until(t, "the dropped checkout is found", func() bool { runtime.GC(); return p.Stat().Ends["checkout lost"] == 1 })
	last := checkout(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	last.Release()

	starts, ends := map[string]int{}, map[string]int{}
	var order []string
	for _, s := range w.take() {
		order = append(order, s)
		s = s[strings.LastIndexByte(s, ' ')+1:]
		switch s {
		case "called":
			ends["call"]++
		case "waited":
			ends["wait"]++
		case "released":
			ends["checkout"]++
		default:
			starts[s]++
		}
	}
	alike(t, "ends", ends, starts)
	if starts["call"] != 13 || starts["wait"] < 3 || starts["checkout"] < 8 {
		t.Errorf("that can't be all: %v\n%s", starts, strings.Join(order, "\n"))
	}
	reasons := map[string]int{}
	for _, e := range w.leaves {
		reasons[e.Reason]++
	}
	for _, r := range []string{"", "error", "panic", "died", "the caller panicked", "aborted", "checkout lost"} {
		equal(t, fmt.Sprintf("a checkout that ended for %q", r), reasons[r] > 0, true)
	}
}

// panics is an argument whose encoding panics.
type panics struct{}

func (panics) MarshalText() ([]byte, error) { panic("it can't be encoded") }

// checkoutAndDrop forgets a checkout.
func checkoutAndDrop(t *testing.T, p *pool.Pool) {
	t.Helper()
	if _, err := p.Checkout(limited(t)); err != nil {
		t.Fatal(err)
	}
}

// A panic of the observer's is its caller's. The worker, and the place in the queue, are not lost.
func TestObserverThatPanics(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"call", "called", "wait", "waited", "checkout", "released"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			w := &watcher{}
			p := newPool(t, sharedServer(t), pool.Config{MinWorkers: 1, MaxWorkers: 1, Observer: w.observer(), Timeout: patience})
			until(t, "the worker is connected", func() bool { return p.Stat().Idle == 1 })
			for _, use := range []func() error{
				func() error { _, err := pid.Call(limited(t), p); return err },
				func() error {
					co, err := p.Checkout(limited(t))
					if err == nil {
						defer co.Release()
						_, err = pid.Call(limited(t), co)
					}
					return err
				},
			} {
				var co *pool.Checkout
				if strings.HasPrefix(where, "wait") {
					co = checkout(t, p)
				}
				w.arm(where)
				done := background(func() (caught any, err error) {
					defer func() { caught = recover() }()
					return nil, use()
				})
				if where == "waited" {
					until(t, "it waits", func() bool { return p.Stat().Waiting == 1 })
					co.Release()
				}
				if r := recv(t, done); r.val == nil || r.err != nil {
					t.Errorf("it ended with %v and %v instead of a panic", r.val, r.err)
				}
				if co != nil {
					co.Release()
				}
				equal(t, "who waits", p.Stat().Waiting, 0)
				must[int](t)(pid.Call(limited(t), p))
			}
			s := p.Stat()
			if s.Connects != 1 || s.Idle != 1 || len(s.Ends) != 0 {
				t.Errorf("workers: %+v", s)
			}
		})
	}
}

func TestObserverOfWorkers(t *testing.T) {
	t.Parallel()
	w := &watcher{}
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1, Observer: w.observer(), MaxCheckouts: 2, Timeout: patience})
	fail.Call(limited(t), p, "it")
	exit.Call(limited(t), p, 3, "")
	must[int](t)(pid.Call(limited(t), p))
	must[int](t)(pid.Call(limited(t), p))
	last := must[int](t)(pid.Call(limited(t), p))
	if err := p.Close(); err != nil { // which waits for the observer
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var pids, gone []int
	var reasons []string
	for _, e := range w.had {
		pids = append(pids, e.Pid)
	}
	ends := map[string]int64{}
	for _, e := range w.ended {
		gone, reasons = append(gone, e.Pid), append(reasons, fmt.Sprint(e.Reason, " ", e.Checkouts))
		ends[e.Reason]++
	}
	alike(t, "reasons, and checkouts", reasons, []string{"error 1", "died 1", "max checkouts 2", "closed 1"})
	alike(t, "pids", gone, pids)
	equal(t, "the last pid", pids[len(pids)-1], last)
	alike(t, "what Stat counts", p.Stat().Ends, ends)
}

// An observer need not have all functions, and one that returns no context changes none.
func TestObserverWithGaps(t *testing.T) {
	t.Parallel()
	nothing := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1, Observer: &pool.Observer{}})
	gaps := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1, Observer: &pool.Observer{
		CallStart:     func(context.Context, pool.CallStart) context.Context { return nil },
		WaitStart:     func(context.Context, pool.WaitStart) context.Context { return nil },
		CheckoutStart: func(context.Context, pool.CheckoutStart) context.Context { return nil },
		CheckoutEnd: func(ctx context.Context, e pool.CheckoutEnd) {
			if path(ctx) != "mine" || e.Pid == 0 {
				t.Errorf("the checkout %+v ends in the context %v", e, ctx)
			}
		},
	}})
	for _, p := range []*pool.Pool{nothing, gaps} {
		ctx := context.WithValue(limited(t), pathKey{}, "mine")
		must[int](t)(pid.Call(ctx, p))
		co, err := p.Checkout(ctx)
		if err != nil {
			t.Fatal(err)
		}
		must[int](t)(pid.Go(ctx, co).Wait())
		co.Release()
	}
}
