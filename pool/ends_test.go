//go:build linux || darwin

package pool_test

import (
	"bufio"
	"context"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// babbler is a dialer whose workers answer a call with what is no message.
type babbler struct{}

func (babbler) Dial(context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		if _, err := bufio.NewReader(theirs).ReadString(']'); err == nil {
			theirs.Write([]byte("{}\n"))
		}
	}()
	return ours, nil
}

// whyEnded has a way to make each reason that a pool has to let a worker go.
var whyEnded = map[string]struct {
	config pool.Config
	end    func(*testing.T, *pool.Pool, *forkserver.Process)
}{
	"error": {end: func(t *testing.T, p *pool.Pool, _ *forkserver.Process) { hookedFail.Call(limited(t), p, "no") }},
	"panic": {end: func(t *testing.T, p *pool.Pool, _ *forkserver.Process) { hookedExplode.Call(limited(t), p) }},
	"max checkouts": {config: pool.Config{MaxCheckouts: 1},
		end: func(t *testing.T, p *pool.Pool, _ *forkserver.Process) { hookedPid.Call(limited(t), p) }},
	"idle": {config: pool.Config{IdleTimeout: time.Millisecond},
		end: func(t *testing.T, p *pool.Pool, _ *forkserver.Process) { hookedPid.Call(limited(t), p) }},
	"recalled": {end: func(t *testing.T, p *pool.Pool, s *forkserver.Process) {
		hookedPid.Call(limited(t), p)
		s.Restart(limited(t))
	}},
	"closed": {end: func(t *testing.T, p *pool.Pool, _ *forkserver.Process) {
		hookedPid.Call(limited(t), p)
		p.Close()
	}},
	"died": {end: func(t *testing.T, p *pool.Pool, _ *forkserver.Process) {
		g := newGate(t)
		call := hookedHold.Go(limited(t), p, g.path)
		syscall.Kill(g.next(t).pid, syscall.SIGKILL)
		call.Wait()
	}},
	"timeout": {end: func(t *testing.T, p *pool.Pool, _ *forkserver.Process) {
		co := checkout(t, p)
		stop(t, co.Pid())
		ctx, cancel := context.WithTimeout(limited(t), 100*time.Millisecond)
		defer cancel()
		_, err := hookedPid.Call(ctx, co)
		as[*pool.TimeoutError](t, err)
	}},
	"canceled": {end: func(t *testing.T, p *pool.Pool, _ *forkserver.Process) {
		g := newGate(t)
		ctx, cancel := context.WithCancel(limited(t))
		call := hookedHold.Go(ctx, p, g.path)
		stop(t, g.next(t).pid)
		cancel()
		call.Wait()
	}},
	"aborted": {end: func(t *testing.T, p *pool.Pool, _ *forkserver.Process) { checkout(t, p).Abort(nil) }},
	"released during a call": {end: func(t *testing.T, p *pool.Pool, _ *forkserver.Process) {
		co, g := checkout(t, p), newGate(t)
		hookedHold.Go(limited(t), co, g.path)
		g.next(t)
		co.Release()
	}},
	"checkout lost": {end: func(t *testing.T, p *pool.Pool, _ *forkserver.Process) { p.Checkout(limited(t)) }},
	"checkout done failed": {end: func(t *testing.T, p *pool.Pool, _ *forkserver.Process) {
		failDone.Call(limited(t), p, "could not roll back")
	}},
}

// Each worker that a pool has had, and has no more, is counted by why: once.
func TestStatNamesWhyWorkersEnded(t *testing.T) {
	t.Parallel()
	for reason, why := range whyEnded {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			srv, _ := startHooked(t, forkserver.Config{Limits: server.Limits{CancelGrace: 10 * time.Millisecond}})
			why.config.MaxWorkers = 1
			p := newPool(t, srv, why.config)
			why.end(t, p, srv)
			until(t, "a worker's end is counted", func() bool {
				runtime.GC() // finds what is lost
				return len(p.Stat().Ends) > 0
			})
			p.Close()
			s := p.Stat()
			var sum int64
			for _, n := range s.Ends {
				sum += n
			}
			if s.Ends[reason] != 1 || sum != s.Connects || s.Total != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// The same with reasons that only an AnyEvent::Task server gives.
func TestStatNamesWhyWorkersOnTheJSONWireEnded(t *testing.T) {
	t.Parallel()
	p := newPool(t, babbler{}, pool.Config{Wire: wire.JSON, MaxWorkers: 1})
	_, err := pid.Call(limited(t), p)
	as[*wire.ProtocolError](t, err)
	equal(t, "protocol violations", p.Stat().Ends["protocol violation"], 1)

	srv, d := startHooked(t, forkserver.Config{})
	if err := os.WriteFile(d.SetupFails, []byte("not today"), 0o600); err != nil {
		t.Fatal(err)
	}
	p = newPool(t, srv, pool.Config{Wire: wire.JSON, MaxWorkers: 1})
	_, err = hookedPid.Call(limited(t), p)
	as[*wire.SetupError](t, err)
	until(t, "it is counted", func() bool { return p.Stat().Ends["setup failed"] == 1 })
}
