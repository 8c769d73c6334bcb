//go:build linux || darwin

package pool_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/pool/poolslog"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// talkative logs and prints wherever it can.
var talkative = server.NewService("talkative", server.Hooks{Setup: func(ctx context.Context) error {
	server.Logger(ctx).Warn("in Setup", "cups", 2)
	return nil
}})

var _ = server.Handle0(talkative, "talk", func(ctx context.Context) (wire.None, error) {
	fmt.Println("on stdout")
	fmt.Fprintln(os.Stderr, "on stderr")
	server.Logger(ctx).Trace("in the handler", "cups", 3)
	server.Logger(ctx).Error("in the handler, too", "of", "tea")
	return wire.None{}, nil
})

var crashTalking = server.Handle0(talkative, "crash", func(ctx context.Context) (wire.None, error) {
	server.Logger(ctx).Info("before the crash", "last", true)
	var m map[string]int
	done := make(chan struct{})
	go func() { // where nobody recovers
		defer close(done)
		m["x"] = 1
	}()
	<-done
	return wire.None{}, nil
})

// slogged is a logger for log/slog whose lines a test can read.
type slogged struct {
	mu  sync.Mutex // guards out
	out bytes.Buffer
}

func (s *slogged) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

func (s *slogged) get(t *testing.T) (all []record) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(s.out.String()) {
		r := record{args: map[string]any{}}
		if err := json.Unmarshal([]byte(line), &r.args); err != nil {
			t.Fatal(err)
		}
		r.text = fmt.Sprint(r.args["msg"])
		r.level = hclog.LevelFromString(strings.Replace(fmt.Sprint(r.args["level"]), "DEBUG-4", "TRACE", 1))
		all = append(all, r)
	}
	return all
}

// TestOneLoggerGetsEverything gives a logger to Start, and to nobody else.
func TestOneLoggerGetsEverything(t *testing.T) {
	t.Parallel()
	t.Run("hclog", func(t *testing.T) {
		t.Parallel()
		r := newRecords()
		getsEverything(t, r, r.get)
	})
	t.Run("slog", func(t *testing.T) {
		t.Parallel()
		lines := &slogged{}
		logger := slog.New(slog.NewJSONHandler(lines, &slog.HandlerOptions{Level: poolslog.LevelTrace}))
		getsEverything(t, poolslog.New(logger), func() []record { return lines.get(t) })
	})
}

func getsEverything(t *testing.T, l hclog.Logger, get func() []record) {
	srv := start(t, talkative, forkserver.Config{Logger: l})
	p := newPool(t, srv, pool.Config{MaxWorkers: 1})
	talker := &wire.Call{Method: "talk"}
	if err := p.Do(limited(t), talker); err != nil {
		t.Fatal(err)
	}
	_, err := crashTalking.Call(limited(t), p)
	died := as[*pool.WorkerDiedError](t, err)
	serverPid := srv.Pid()
	for _, want := range []struct {
		level hclog.Level
		text  string
		args  map[string]any
	}{
		{hclog.Warn, "in Setup", map[string]any{"cups": 2, "pid": talker.Pid}},
		{hclog.Trace, "in the handler", map[string]any{"cups": 3, "pid": talker.Pid}},
		{hclog.Error, "in the handler, too", map[string]any{"of": "tea", "pid": talker.Pid}},
		{hclog.Info, "on stdout", map[string]any{"stream": "stdout", "pid": talker.Pid}},
		{hclog.Info, "on stderr", map[string]any{"stream": "stderr", "pid": talker.Pid}},
		{hclog.Info, "before the crash", map[string]any{"last": true, "pid": died.Pid}},
		{hclog.Error, "worker ended", map[string]any{"pid": died.Pid, "stderr": "panic: assignment to entry in nil map", "how": "ended with exit code 2"}},
		{hclog.Error, "server ended", map[string]any{"pid": serverPid}},
	} {
		if want.text == "server ended" { // after it has told of its worker's end
			if err := syscall.Kill(serverPid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		until(t, fmt.Sprintf("%v %q with %v was logged", want.level, want.text, want.args), func() bool {
			for _, r := range get() {
				all := r.level == want.level && r.text == want.text
				for k, v := range want.args {
					all = all && fmt.Sprint(r.args[k]) == fmt.Sprint(v)
				}
				if all {
					return true
				}
			}
			return false
		})
	}
}

// A pool whose workers do what they should, and come and go as they should, logs nothing above debug.
func TestHealthyPoolIsQuiet(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		l := newRecords()
		srv, err := forkserver.Start(limited(t), plain, forkserver.Config{Logger: l, Limits: server.Limits{Standby: 1}})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		p := newPool(t, srv, pool.Config{Wire: kind, MaxWorkers: 3, MaxCheckouts: 3, IdleTimeout: 50 * time.Millisecond, Timeout: patience})
		for range 10 {
			must[int](t)(pid.Call(limited(t), p))
		}
		var held []*pool.Checkout
		for range 3 {
			held = append(held, checkout(t, p))
		}
		waits := pid.Go(limited(t), p)
		for _, co := range held {
			must[int](t)(pid.Call(limited(t), co))
			co.Release()
		}
		must[int](t)(waits.Wait())
		fail.Call(limited(t), p, "an error is the caller's business")
		if kind == wire.Binary { // a call that is canceled, and returns
			g := newGate(t)
			ctx, cancel := context.WithCancel(limited(t))
			running := hold.Go(ctx, p, g.path)
			g.next(t)
			cancel()
			<-running.Done()
		}
		until(t, "idle workers were retired", func() bool { return p.Stat().Ends["idle"] > 0 })
		must[int](t)(pid.Call(limited(t), p))
		if err := srv.Restart(limited(t)); err != nil {
			t.Fatal(err)
		}
		must[int](t)(pid.Call(limited(t), p))
		if err := p.Shutdown(limited(t)); err != nil {
			t.Fatal(err)
		}
		if err := srv.Close(); err != nil {
			t.Fatal(err)
		}
		levels := map[hclog.Level]int{}
		for _, r := range l.get() {
			levels[r.level]++
			if r.level > hclog.Debug {
				t.Errorf("logged: %v", r)
			}
		}
		if levels[hclog.Debug] == 0 {
			t.Errorf("nothing was logged at debug level, so that this shows nothing: %v", maps.Clone(levels))
		}
	})
}

// A pool's own logger comes before its dialer's.
func TestPoolsOwnLogger(t *testing.T) {
	t.Parallel()
	servers, pools := newRecords(), newRecords()
	srv := start(t, plain, forkserver.Config{Logger: servers})
	must[int](t)(chatter.Call(limited(t), newPool(t, srv, pool.Config{Logger: pools}), 1, ""))
	must[int](t)(chatter.Call(limited(t), newPool(t, srv, pool.Config{Logger: hclog.NewNullLogger()}), 2, ""))
	if len(pools.get()) != 3 || servers.has("line 0") {
		t.Errorf("the pool's logger has %v, the server's %v", pools.get(), servers.get())
	}
}
