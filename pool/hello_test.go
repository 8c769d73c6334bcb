//go:build linux

package pool_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// What ends a worker from outside before it has said hello costs nobody anything: another one is made.
func TestWorkerThatIsKilledBeforeItsHello(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			srv, d := startHooked(t, forkserver.Config{})
			g := newGate(t)
			write(t, d.SetupFails, "wait at "+g.path)
			call := hookedPid.Go(limited(t), newPool(t, srv, pool.Config{}))
			syscall.Kill(g.next(t).pid, sig)
			second := g.next(t)
			second.open()
			equal(t, "the worker", must[int](t)(call.Wait()), second.pid)
		})
	}
}

// A worker that crashes in its Setup fails who waits for it, and so does the second one that is killed.
func TestWorkerThatCrashesBeforeItsHello(t *testing.T) {
	t.Parallel()
	for _, sigs := range [][]syscall.Signal{{syscall.SIGSEGV}, {syscall.SIGABRT}, {syscall.SIGKILL, syscall.SIGTERM}} {
		t.Run(fmt.Sprint(sigs), func(t *testing.T) {
			t.Parallel()
			srv, d := startHooked(t, forkserver.Config{})
			g := newGate(t)
			write(t, d.SetupFails, "wait at "+g.path)
			call := hookedPid.Go(limited(t), newPool(t, srv, pool.Config{}))
			var last int
			for _, sig := range sigs {
				last = g.next(t).pid
				syscall.Kill(last, sig)
			}
			_, err := call.Wait()
			equal(t, "the worker", as[*pool.WorkerDiedError](t, err).Pid, last)
			equal(t, "safe to retry", wire.SafeToRetry(err), true)
		})
	}
}

// A standby that has taken its connection, and crashes before it says hello, has been set up: another one can be made.
func TestStandbyThatCrashesBeforeItsHello(t *testing.T) {
	t.Parallel()
	ev := newEvents()
	srv := start(t, plain, forkserver.Config{OnEvent: ev.on, Limits: server.Limits{Standby: 1}})
	first := 0
	for _, e := range ev.wait(t, server.WorkerReady, 1) {
		if e.Type == server.WorkerReady {
			first = e.Pid
		}
	}
	crash := sync.OnceFunc(func() {
		until(t, "the standby waits for a hello", func() bool { return asleep(first) })
		syscall.Kill(first, syscall.SIGSEGV)
		ev.wait(t, server.WorkerEnded, 1)
	})
	p := newPool(t, beforeHello{srv, crash}, pool.Config{})
	if got := must[int](t)(pid.Call(limited(t), p)); got == first {
		t.Error("the worker that crashed answers")
	}
	equal(t, "failures", p.Stat().Failures, 0)
}

// beforeHello is a dialer that calls a function before anything is written to a connection.
type beforeHello struct {
	pool.Dialer
	call func()
}

func (d beforeHello) Dial(ctx context.Context) (net.Conn, error) {
	c, err := d.Dialer.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return lateConn{c, c.(wire.Lifeline), d.call}, nil
}

type lateConn struct {
	net.Conn
	wire.Lifeline
	call func()
}

func (c lateConn) Write(b []byte) (int, error) {
	c.call()
	return c.Conn.Write(b)
}

// asleep reports whether no thread of a process runs.
func asleep(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, file := range stats {
		stat, _ := os.ReadFile(file)
		if _, rest, _ := strings.Cut(string(stat), ") "); !strings.HasPrefix(rest, "S") {
			return false
		}
	}
	return len(stats) > 0
}
