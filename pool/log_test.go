//go:build linux || darwin

package pool_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

func TestLogsArriveInOrder(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		for _, then := range []string{"", "fail", "exit"} {
			t.Run("then "+then, func(t *testing.T) {
				t.Parallel()
				ours, pools := newRecords(), newRecords()
				p := newPool(t, sharedServer(t), pool.Config{Wire: kind, MaxWorkers: 1, Logger: pools})
				co := checkout(t, p.With(pool.CheckoutConfig{Logger: ours}))
				begin := time.Now()
				for call := range 2 {
					_, err := chatter.Call(limited(t), co, 20, then)
					if (err != nil) != (then != "") {
						t.Fatal(err)
					}
					if then == "exit" && call == 1 {
						continue // it repeats the error, and has logged nothing
					}
					checkChatter(t, ours.get()[22*call:], co.Pid(), begin)
				}
				if then == "" {
					co.Release()
					if _, err := chatter.Call(limited(t), p, 20, then); err != nil {
						t.Fatal(err)
					}
					checkChatter(t, pools.get(), co.Pid(), begin)
				}
			})
		}
	})
}

// checkChatter checks what chatter logs with 20 lines. A pid of 0 is not known: the JSON wire doesn't tell.
func checkChatter(t *testing.T, got []record, pid int, begin time.Time) {
	t.Helper()
	if len(got) != 22 {
		t.Fatalf("%d records instead of 22: %v", len(got), got)
	}
	last := begin.Add(-time.Millisecond)
	for i, r := range got {
		level, text, key, value := hclog.Info, fmt.Sprint("line ", i-1), "n", fmt.Sprint(i-1)
		switch i {
		case 0:
			level, text, key, value = hclog.Debug, "begin", "lines", "20"
		case 21:
			level, text, key, value = hclog.Warn, "sub: end", "ünïcode", "日本語"
			equal(t, "the derived logger's field", fmt.Sprint(r.args["with"]), "this")
		}
		if r.level != level || r.text != text || fmt.Sprint(r.args[key]) != value {
			t.Errorf("record %d is %v", i, r)
		}
		if at, ok := r.args["timestamp"].(time.Time); !ok || at.Before(last.Add(-time.Millisecond)) || at.After(time.Now().Add(time.Millisecond)) {
			t.Errorf("record %d has the time %v, the one before %v", i, r.args["timestamp"], last)
		} else {
			last = at
		}
		if pid != 0 && r.args["pid"] != pid {
			t.Errorf("record %d comes from %v instead of %v", i, r.args["pid"], pid)
		}
	}
}

// TestEachCheckoutHasItsOwnLogger runs several at once.
func TestEachCheckoutHasItsOwnLogger(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 3})
	logs := make([]*records, 6)
	var calls []*wire.Pending[int]
	for i := range logs {
		logs[i] = newRecords()
		calls = append(calls, chatter.Go(limited(t), p.With(pool.CheckoutConfig{Logger: logs[i]}), i, ""))
	}
	for i, c := range calls {
		must[int](t)(c.Wait())
		equal(t, "records", len(logs[i].get()), i+2)
	}
}

func TestLogsOfAPanicArrive(t *testing.T) {
	t.Parallel()
	logs := newRecords()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1, Logger: logs})
	_, err := chatter.Call(limited(t), p, 1, "panic")
	equal(t, "the type", as[*wire.RemoteError](t, err).Type, wire.TypePanic)
	equal(t, "records", len(logs.get()), 3)
}
