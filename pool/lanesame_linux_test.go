package pool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// laneScripts are scripts that must come to the same through a lane as through a socket. Each writes down what it sees.
var laneScripts = map[string]func(t *testing.T, p *pool.Pool, co *pool.Checkout, log *records) []any{
	"values": func(t *testing.T, p *pool.Pool, co *pool.Checkout, _ *records) (seen []any) {
		for _, v := range []any{nil, true, 1 << 40, -1.5, "日本語", []byte{0, 255}, []any{1, "two", nil}, map[string]any{"a": []any{}},
			time.Unix(1, 5).UTC(), strings.Repeat("long ", 100_000)} {
			got, err := echo.Call(limited(t), co, v)
			seen = append(seen, got, err)
		}
		return seen
	},
	"a queue": func(t *testing.T, p *pool.Pool, co *pool.Checkout, _ *records) (seen []any) {
		var calls []*wire.Pending[[]int]
		for i := range 50 {
			calls = append(calls, remember.Go(limited(t), co, i))
		}
		failed := fail.Go(limited(t), co, "in the queue")
		skipped := pid.Go(limited(t), co)
		for _, c := range calls {
			got, err := c.Wait()
			seen = append(seen, len(got), got[len(got)-1], err)
		}
		_, err := failed.Wait()
		_, after := skipped.Wait()
		return append(seen, err.Error(), after.Error(), errors.Is(after, err))
	},
	"log records": func(t *testing.T, p *pool.Pool, co *pool.Checkout, log *records) (seen []any) {
		for _, then := range []string{"", "fail", "panic"} {
			n, err := chatter.Call(limited(t), co, 30, then)
			seen = append(seen, n, fmt.Sprint(err))
		}
		for _, r := range log.get() {
			if r.args["pid"] != co.Pid() {
				t.Errorf("a record of worker %v: %+v", r.args["pid"], r)
			}
			delete(r.args, "pid")
			delete(r.args, "timestamp")
			seen = append(seen, r)
		}
		return seen
	},
	"meta": func(t *testing.T, p *pool.Pool, co *pool.Checkout, _ *records) []any {
		var got map[string]string
		err := co.Do(limited(t), &wire.Call{Method: "meta", Reply: &got, Meta: map[string]string{"trace": "4bf9", "more": strings.Repeat("m", 9000)}})
		return []any{got, err}
	},
	"cost": func(t *testing.T, p *pool.Pool, co *pool.Checkout, _ *records) []any {
		c := &wire.Call{Method: "burn", Args: []any{20 * time.Millisecond}, Measure: true}
		err := co.Do(limited(t), c)
		return []any{err, c.Cost.CPU >= 20*time.Millisecond, c.Cost.PeakRSS > 1<<20, c.Cost.Run > 0, c.Pid == co.Pid()}
	},
	"errors": func(t *testing.T, p *pool.Pool, co *pool.Checkout, _ *records) (seen []any) {
		_, err := fail.Call(limited(t), co, "no")
		seen = append(seen, *as[*wire.RemoteError](t, err))
		seen = append(seen, as[*wire.RemoteError](t, co.Call(limited(t), nil, "no such method")).Code)
		for _, what := range []string{"chan", "func", "cycle", "text"} {
			_, err := unsendable.Call(limited(t), co, what)
			seen = append(seen, err.Error())
		}
		var n int
		seen = append(seen, as[*wire.CodecError](t, co.Call(limited(t), &n, "echo", "no number")).Error())
		seen = append(seen, as[*wire.CodecError](t, co.Call(limited(t), nil, "echo", func() {})).Error())
		got, err := pid.Call(limited(t), co)
		seen = append(seen, got == co.Pid(), err)
		co.Release()
		until(t, "the worker is let go", func() bool { return p.Stat().Ends["error"] == 1 })
		return seen
	},
	"panics": func(t *testing.T, p *pool.Pool, co *pool.Checkout, _ *records) (seen []any) {
		_, err := explode.Call(limited(t), co, "boom")
		e := as[*wire.RemoteError](t, err)
		seen = append(seen, e.Message, e.Type, strings.Contains(e.Stack, "service_test.go"))
		got, err := pid.Call(limited(t), co)
		seen = append(seen, got == co.Pid(), err)
		_, err = goexit.Call(limited(t), co)
		seen = append(seen, as[*wire.RemoteError](t, err).Message)
		co.Release()
		return append(seen, must[int](t)(pid.Call(limited(t), p)) == co.Pid())
	},
	"an exit": func(t *testing.T, p *pool.Pool, co *pool.Checkout, log *records) []any {
		_, err := chatter.Call(limited(t), co, 5, "exit")
		e := as[*pool.WorkerDiedError](t, err)
		return []any{e.Exit.Code, e.Exit.Reason, e.Unread, e.Method, len(log.get()), e.Pid == co.Pid()}
	},
}

// TestLaneIsTheSame runs scripts through shared memory of two sizes, and without.
func TestLaneIsTheSame(t *testing.T) {
	t.Parallel()
	for name, script := range laneScripts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := func(memory int) []string {
				log := newRecords()
				log.SetLevel(hclog.Trace)
				p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1, SharedMemory: memory, Logger: log})
				var co *pool.Checkout
				if memory < 0 {
					co = checkout(t, p)
					warm(t, co)
				} else {
					co = onLane(t, p)
				}
				var text []string
				for _, v := range script(t, p, co, log) {
					text = append(text, fmt.Sprintf("%#v", v))
				}
				return text
			}
			socket := run(-1)
			for _, memory := range []int{0, 8 << 10} {
				lane := run(memory)
				for i := range max(len(lane), len(socket)) {
					if i >= len(lane) || i >= len(socket) || lane[i] != socket[i] {
						t.Fatalf("with %d bytes of shared memory, thing %d is different:\n%.300q\ninstead of\n%.300q", memory, i,
							slices.Concat(lane[min(i, len(lane)):]), slices.Concat(socket[min(i, len(socket)):]))
					}
				}
			}
		})
	}
}

// hookedWarm is warm for the service hooked.
func hookedWarm(t *testing.T, p *pool.Pool, c wire.Caller) {
	t.Helper()
	must[int](t)(hookedPid.Call(limited(t), c))
	as[*wire.RemoteError](t, errorOf(hookedFail.Call(limited(t), c, strings.Repeat("x", 512<<10))))
	must[int](t)(hookedPid.Call(limited(t), c))
}

func errorOf[T any](_ T, err error) error { return err }

// The hook runs after each release, whether the last call says so or a message of its own, and its failure ends the worker.
func TestLaneAndCheckoutDone(t *testing.T) {
	t.Parallel()
	for _, memory := range []int{-1, 0, 8 << 10} {
		srv, d := startHooked(t, forkserver.Config{Limits: server.Limits{Standby: -1}})
		p := newPool(t, srv, pool.Config{MaxWorkers: 1, SharedMemory: memory, ReuseAfterError: true})
		co := checkout(t, p)
		hookedWarm(t, p, co)
		co.Release() // by a message
		until(t, "the hook has run", func() bool { return countLines(d.DoneLog) == 1 && p.Stat().Idle == 1 })
		for range 20 { // with the last call
			equal(t, "the worker", must[int](t)(hookedPid.Call(limited(t), p)), co.Pid())
		}
		until(t, "the hooks have run", func() bool { return countLines(d.DoneLog) == 21 && p.Stat().Idle == 1 })
		want := 0
		if memory >= 0 {
			want = 1
		}
		equal(t, "workers that share memory", p.Stat().SharedMemory, want)
		must[int](t)(failDone.Call(limited(t), p, "could not roll back"))
		if now := must[int](t)(hookedPid.Call(limited(t), p)); now == co.Pid() {
			t.Error("a worker whose hook has failed lives on")
		}
		equal(t, "workers ended for it", p.Stat().Ends["checkout done failed"], 1)
		os.Remove(d.DoneLog)
	}
}

// A pool's calls from many goroutines end in the right hands, on lanes that come while they run.
func TestLanesOfManyCallers(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 4, Timeout: patience})
	var ends []<-chan result[int]
	for caller := range 16 {
		ends = append(ends, background(func() (int, error) {
			for i := range 200 {
				text := fmt.Sprint(caller, " ", i, strings.Repeat(".", i*i%5000))
				got, err := echoText.Call(context.Background(), p, text)
				if err != nil || got != text {
					return i, fmt.Errorf("%.20q instead of %.20q: %w", got, text, err)
				}
			}
			warm(t, p)
			return 0, nil
		}))
	}
	for _, end := range ends {
		if r := recv(t, end); r.err != nil {
			t.Error(r.val, r.err)
		}
	}
}

// A worker whose calls come one after the other has time for timers and for its garbage all the same.
func TestLaneLeavesTimeForOthers(t *testing.T) {
	t.Parallel()
	co := onLane(t, newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1}))
	end := time.Now().Add(patience)
	for must[int](t)(tend.Call(limited(t), co)) < 20 { // without a pause
		if time.Now().After(end) {
			t.Fatal("it never comes to it")
		}
	}
}
