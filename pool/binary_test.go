//go:build linux || darwin

package pool_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

// TestBinaryWireInPython holds PROTOCOL.md against what a stranger made of it: testdata/workers/binary.py, a server on the
// binary wire that was written from that document alone.
func TestBinaryWireInPython(t *testing.T) {
	t.Parallel()
	s := startForeign(t, "python3", filepath.Join("..", "testdata", "workers", "binary.py"))
	for _, test := range []struct {
		name string
		run  func(*testing.T, foreign)
	}{
		{"values", pythonValues},
		{"errors", pythonErrors},
		{"releases", pythonReleases},
		{"meta and logs", pythonMetaAndLogs},
		{"cancel", pythonCancel},
		{"death", pythonDeath},
		{"setup", pythonSetup},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

// pythonPool makes a pool on it.
func pythonPool(t *testing.T, s foreign) *pool.Pool {
	return newPool(t, pool.Unix(s.path), pool.Config{MaxWorkers: 1})
}

func pythonValues(t *testing.T, s foreign) {
	p := pythonPool(t, s)
	huge, _ := new(big.Int).SetString("-123456789012345678901234567890", 10)
	for _, v := range []any{nil, true, false, int64(0), int64(-1), int64(23), int64(24), int64(1 << 40), int64(-1 << 63),
		huge, new(big.Int).SetUint64(1 << 63), 0.0, 1.5, -1e300, "", "λ 𝇚", []byte{}, []byte{0, 255}, []any{}, []any{int64(1), []any{"x"}},
		map[string]any{}, map[string]any{"a": nil, "λ": map[string]any{"b": int64(1)}},
		time.Date(2026, 11, 23, 1, 2, 3, 123456789, time.UTC)} {
		got := must[any](t)(echo.Call(limited(t), p, v))
		if w, ok := v.(time.Time); ok {
			if g, ok := got.(time.Time); !ok || !g.Equal(w) {
				t.Errorf("%v instead of %v", got, w)
			}
		} else if !reflect.DeepEqual(got, v) && fmt.Sprint(got) != fmt.Sprint(v) || fmt.Sprintf("%T", got) != fmt.Sprintf("%T", v) {
			t.Errorf("%#v instead of %#v", got, v)
		}
	}
	large := make([]byte, 5<<20)
	equal(t, "a large value", len(must[any](t)(echo.Call(limited(t), p, large)).([]byte)), len(large))
}

func pythonErrors(t *testing.T, s foreign) {
	p := pythonPool(t, s)
	_, err := fail.Call(limited(t), p, "ünïcode")
	if re := as[*wire.RemoteError](t, err); re.Message != "ünïcode" || re.Code != "FAILED" || re.Type != "Failure" {
		t.Errorf("%+v", re)
	}
	_, err = wire.NewMethod0[any]("nothing").Call(limited(t), p)
	equal(t, "the code", as[*wire.RemoteError](t, err).Code, "no such method")
}

func pythonReleases(t *testing.T, s foreign) {
	p := pythonPool(t, s)
	released := wire.NewMethod0[int]("released")
	for n := range 3 {
		equal(t, "after calls on the pool", must[int](t)(released.Call(limited(t), p)), 2*n)
		co := checkout(t, p)
		equal(t, "in a checkout", must[int](t)(released.Call(limited(t), co)), 2*n+1)
		co.Release()
	}
	equal(t, "workers", p.Stat().Connects, 1)
}

func pythonMetaAndLogs(t *testing.T, s foreign) {
	logs := newRecords()
	p := newPool(t, pool.Unix(s.path), pool.Config{MaxWorkers: 1, Logger: logs})
	v := p.With(pool.CheckoutConfig{Meta: map[string]string{"trace": "4bf9"}})
	equal(t, "the meta", must[map[string]string](t)(meta.Call(limited(t), v))["trace"], "4bf9")
	must[any](t)(wire.NewMethod0[any]("logs").Call(limited(t), p))
	all := logs.get()
	if len(all) != 3 || all[0].text != "hello from worker" || all[0].args["k"] != "v" || all[1].text != "careful" || all[2].args["took"] != 250*time.Millisecond {
		t.Errorf("%v", all)
	}
}

func pythonCancel(t *testing.T, s foreign) {
	p := pythonPool(t, s)
	co := checkout(t, p)
	worker := must[int](t)(pid.Call(limited(t), co))
	ctx, cancel := context.WithCancel(limited(t))
	shown := tempFile(t, "shown")
	running := wire.NewMethod[string, any]("wait").Go(ctx, co, shown)
	until(t, "the call runs", func() bool { _, err := os.Stat(shown); return err == nil })
	cancel()
	_, err := running.Wait()
	if c := as[*pool.CanceledError](t, err); c.Remote == nil || c.Remote.Code != "CANCELLED" {
		t.Errorf("%+v", c)
	}
	equal(t, "the worker", must[int](t)(pid.Call(limited(t), co)), worker)
	co.Release()
}

func pythonDeath(t *testing.T, s foreign) {
	p := pythonPool(t, s)
	_, err := wire.NewMethod[int, any]("exit").Call(limited(t), p, 7)
	if died := as[*pool.WorkerDiedError](t, err); died.Exit.Code != 7 || died.Exit.Stderr() != "last words\n" {
		t.Errorf("%+v", died.Exit)
	}
	must[int](t)(pid.Call(limited(t), p))
}

func pythonSetup(t *testing.T, s foreign) {
	write(t, s.setupFails, "")
	_, err := pid.Call(limited(t), newPool(t, pool.Unix(s.path), pool.Config{}))
	if e := as[*wire.SetupError](t, err); e.Message != "the table is missing" || e.Code != "NOTABLE" {
		t.Errorf("%+v", e)
	}
	if err := os.Remove(s.setupFails); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}
