//go:build linux

package forkserver_test

import (
	"context"
	"errors"

	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// A client takes a standby without a word to the server: that may be stopped.
func TestStandbyIsTakenWithoutTheServer(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 2}, StartTimeout: -1})
	first, second := tr.ready(t, 1), tr.ready(t, 2)
	stop(t, tr.Pid())
	p := newPool(t, tr, poolConfig)
	if pid := must(getpid.Call(proctest.Limited(t), p))(t); pid != first {
		t.Errorf("the first call ran in worker %d instead of %d", pid, first)
	}
	one, two := checkout(t, p), checkout(t, p)
	if one.Pid() != first || two.Pid() != second {
		t.Errorf("workers %d and %d instead of %d and %d", one.Pid(), two.Pid(), first, second)
	}
	kill(tr.Pid(), syscall.SIGCONT)
}

// The standby finds out which wire its client speaks.
func TestStandbyTakesEitherWire(t *testing.T) {
	t.Parallel()
	for _, kind := range []wire.Kind{wire.Binary, wire.JSON} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 1}})
			first := tr.ready(t, 1)
			p := newPool(t, tr, pool.Config{MinWorkers: -1, Wire: kind})
			if pid := must(getpid.Call(proctest.Limited(t), p))(t); pid != first {
				t.Errorf("worker %d instead of %d", pid, first)
			}
		})
	}
}

// A client that takes its time costs its standby nothing, and one that talks nonsense costs only its own.
func TestStandbyOfAStrangeClient(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 1}})
	first := tr.ready(t, 1)
	nc := must(tr.Dial(proctest.Limited(t)))(t)
	defer nc.Close()
	if tr.ready(t, 2) == first { // the server knows that the first one is taken
		t.Fatal("one worker got ready twice")
	}
	if _, err := nc.Write([]byte("GET / HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	e := nc.(wire.Lifeline).Exit(proctest.Limited(t))
	if e == nil || e.Pid != first || e.Reason != wire.ExitRetired || !strings.Contains(e.Detail, "begins with byte 0x47") {
		t.Errorf("%+v", e)
	}
}

// A stopped standby whose client has taken it is found out, though it does nothing.
func TestStandbyThatIsStoppedAndTaken(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 1}})
	first := tr.ready(t, 1)
	stop(t, first)
	p := newPool(t, tr, poolConfig)
	if pid := must(getpid.Call(proctest.Limited(t), p))(t); pid == first {
		t.Error("the stopped worker has answered")
	}
	e := tr.events.Wait(t, "its end", func(e server.Event) bool { return e.Type == server.WorkerEnded && e.Pid == first })
	if e.Exit.Reason != wire.ExitHung || !strings.Contains(e.Exit.Detail, "did not take its connection") {
		t.Errorf("%+v", e.Exit)
	}
}

// The same for a checkout, and the checkout that was in vain isn't counted.
func TestCheckoutOfAStandbyThatDies(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 2}})
	first, second := tr.ready(t, 1), tr.ready(t, 2)
	stop(t, first)
	p := newPool(t, tr, poolConfig)
	got := make(chan *pool.Checkout, 1)
	go func() {
		co, err := p.Checkout(proctest.Limited(t))
		if err != nil {
			t.Error(err)
		}
		got <- co
	}()
	tr.events.Wait(t, "the third worker", func(e server.Event) bool { return e.Type == server.WorkerStarted && e.Number == 3 })
	kill(first, syscall.SIGKILL)
	co := <-got
	if co == nil {
		return
	}
	defer co.Release()
	if co.Pid() != second {
		t.Errorf("worker %d instead of %d", co.Pid(), second)
	}
	if n := p.Stat().Checkouts; n != 1 {
		t.Errorf("%d checkouts are counted", n)
	}
}

// Who gives up while a standby doesn't answer gets the error of his patience, at once.
func TestImpatientCallOnAStoppedStandby(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 1}})
	stop(t, tr.ready(t, 1))
	p := newPool(t, tr, poolConfig)
	ctx, cancel := context.WithCancel(proctest.Limited(t))
	call := getpid.Go(ctx, p)
	tr.events.Wait(t, "the next worker", func(e server.Event) bool { return e.Type == server.WorkerStarted && e.Number == 2 })
	cancel()
	_, err := call.Wait()
	var canceled *pool.CanceledError
	if !errors.As(err, &canceled) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Where strangers may come first, the server keeps its standbys for itself.
func TestListeningServerKeepsItsStandbys(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "socket")
	tr := start(t, basic, forkserver.Config{Listen: []string{path}, Limits: server.Limits{Standby: 1}})
	first := tr.ready(t, 1)
	if nc, _ := tr.Spare(); nc != nil {
		nc.Close()
		t.Error("a standby was given away")
	}
	p := newPool(t, pool.Unix(path), pool.Config{MinWorkers: -1})
	if pid := must(getpid.Call(proctest.Limited(t), p))(t); pid != first {
		t.Errorf("worker %d instead of %d", pid, first)
	}
}

// A first call that doesn't fit into the socket goes out with the hello as well.
func TestLargeFirstCallOnAStandby(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 32<<10 - 100, 32 << 10, 1 << 20} {
		tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 1}})
		tr.ready(t, 1)
		text := strings.Repeat("x", size)
		if got := must(echo.Call(proctest.Limited(t), newPool(t, tr, poolConfig), text))(t); got != text {
			t.Errorf("%d bytes came back of %d", len(got), size)
		}
	}
}
