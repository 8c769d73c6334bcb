//go:build linux || darwin

package pool_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

const unicodeText = "Gödel, \u0000\u0001\t\n\\\"'<>&\u2028 Ωμέγα 日本語 🦄 e\u0301 \ufeff\U0010ffff"

// bothWires runs a test on either wire.
func bothWires(t *testing.T, test func(*testing.T, wire.Kind)) {
	for _, kind := range []wire.Kind{wire.Binary, wire.JSON} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			test(t, kind)
		})
	}
}

func TestValuesSurviveBothWays(t *testing.T) {
	t.Parallel()
	now := time.Now()
	huge, _ := new(big.Int).SetString("-12345678901234567890123456789", 10)
	common := []any{
		nil, true, false, "", "text", unicodeText, strings.Repeat("long ", 100_000),
		int64(0), int64(-1), int64(math.MaxInt64), int64(math.MinInt64), int64(1<<53 + 1), huge,
		1.5, -0.25, math.MaxFloat64, math.SmallestNonzeroFloat64, 1e300,
		[]any{}, []any{nil, true, "x", int64(1), 2.5, []any{[]any{"deep"}}},
		map[string]any{}, map[string]any{"": "empty", unicodeText: []any{int64(1)}, "nil": nil, "in": map[string]any{"a": int64(1)}},
	}
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, sharedServer(t), pool.Config{Wire: kind, MaxWorkers: 1})
		values := common
		if kind == wire.Binary {
			values = append(values, []byte{}, []byte{0, 255, 10}, math.Inf(1), now.UTC().Round(0))
		}
		for _, want := range values {
			got, err := echo.Call(limited(t), p, want)
			if err != nil || !same(got, want) {
				t.Errorf("%.80q (%T) came back as %.80q (%T), error %v", fmt.Sprint(want), want, fmt.Sprint(got), got, err)
			}
		}
	})
}

// same compares as reflect.DeepEqual does, but for the location of times.
func same(a, b any) bool {
	if x, ok := a.(time.Time); ok {
		y, ok := b.(time.Time)
		return ok && x.Equal(y)
	}
	return reflect.DeepEqual(a, b)
}

func TestDocumentSurvivesBothWays(t *testing.T) {
	t.Parallel()
	text := unicodeText
	want := document{Text: unicodeText, Bytes: []byte{0, 1, 254, 255}, Int: math.MinInt64, Uint: math.MaxUint64,
		Float: 0.1, Yes: true, Time: time.Now().Round(0), Took: time.Nanosecond, Pointer: &text, List: []string{"", "ä"},
		Map: map[string]int{"ключ": -1}, Any: []any{int64(math.MaxInt64), "any"}}
	want.Inner.A, want.Inner.B = -128, 127
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, sharedServer(t), pool.Config{Wire: kind, MaxWorkers: 1})
		got := must[document](t)(echoDoc.Call(limited(t), p, want))
		if !got.Time.Equal(want.Time) {
			t.Errorf("the time %v came back as %v", want.Time, got.Time)
		}
		got.Time = want.Time
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v\ncame back as\n%+v", want, got)
		}
		zero := must[document](t)(echoDoc.Call(limited(t), p, document{}))
		if !reflect.DeepEqual(zero, document{}) {
			t.Errorf("the zero document came back as %+v: the call before shows through", zero)
		}
	})
}

func TestBytesSurviveBothWays(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, sharedServer(t), pool.Config{Wire: kind, MaxWorkers: 1})
		for _, size := range []int{0, 1, 4 << 10, 32 << 10, 64<<10 - 30, 64 << 10, 1 << 20, 8 << 20} {
			if kind == wire.JSON && size > 1<<20 {
				break // the race detector makes it slow
			}
			want := make([]byte, size)
			for i := range want {
				want[i] = byte(i * 7 >> 3)
			}
			got := must[[]byte](t)(echoBytes.Call(limited(t), p, want))
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes came back as %d others", size, len(got))
			}
		}
	})
}

func TestMethodsOfEachArity(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, sharedServer(t), pool.Config{Wire: kind, MaxWorkers: 1})
		co := checkout(t, p)
		equal(t, "Handle0", must[int](t)(pid.Call(limited(t), co)), must[int](t)(pid.Call(limited(t), co)))
		equal(t, "Handle", must[string](t)(echoText.Call(limited(t), co, "a")), "a")
		equal(t, "Bind2", must[int](t)(bound.Call(limited(t), co, 6, 7)), 42)
		equal(t, "Handle3", must[string](t)(three.Call(limited(t), co, 1, "b", []int{3})), "1b[3]")
		pending := three.Go(limited(t), co, 4, "e", nil)
		recv(t, pending.Done())
		equal(t, "Go", must[string](t)(pending.Wait()), "4e[]")
		equal(t, "the second Wait", must[string](t)(pending.Wait()), "4e[]")

		var sum int
		if err := co.Call(limited(t), &sum, "bound", 2, 3); err != nil || sum != 6 {
			t.Errorf("Checkout.Call: %v, %v", sum, err)
		}
		co.Release()
		if err := p.Call(limited(t), &sum, "bound", 3, 3); err != nil || sum != 9 {
			t.Errorf("Pool.Call: %v, %v", sum, err)
		}
		if err := p.Call(limited(t), nil, "bound", 3, 3); err != nil {
			t.Errorf("Pool.Call without a reply: %v", err)
		}
	})
}

func TestHandleAnyGetsWhatNoMethodMatches(t *testing.T) {
	t.Parallel()
	srv := start(t, catchall, forkserver.Config{})
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, srv, pool.Config{Wire: kind, MaxWorkers: 1})
		var got []any
		if err := p.Call(limited(t), &got, "größe", 1, unicodeText, nil); err != nil {
			t.Fatal(err)
		}
		want := []any{"größe", []any{int64(1), unicodeText, nil}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the handler saw %v", got)
		}
	})
}

func TestUnknownMethodIsAnErrorReply(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		co := checkout(t, newPool(t, sharedServer(t), pool.Config{Wire: kind, MaxWorkers: 1}))
		before := must[int](t)(pid.Call(limited(t), co))
		re := as[*wire.RemoteError](t, co.Call(limited(t), nil, "no such thing"))
		equal(t, "the code", re.Code, server.CodeNoMethod)
		equal(t, "the worker", must[int](t)(pid.Call(limited(t), co)), before)
	})
}

// TestWhatCannotBeSentIsAnError sends what can't be encoded, in both directions. Worker and app live on.
func TestWhatCannotBeSentIsAnError(t *testing.T) {
	t.Parallel()
	srv := start(t, plain, forkserver.Config{Limits: server.Limits{MaxMessage: 1 << 20}})
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, srv, pool.Config{Wire: kind, MaxWorkers: 1})
		ctx, co := limited(t), checkout(t, p)
		before := must[int](t)(pid.Call(ctx, co))
		for what, v := range map[string]any{"chan": make(chan int), "func": func() {}, "cycle": newCycle(),
			"text": "\xff", "too large": make([]byte, 2<<20)} {
			_, err := echo.Call(ctx, co, v)
			e := as[*wire.CodecError](t, err)
			if e.Op != "encode" || !wire.SafeToRetry(err) {
				t.Errorf("%s as an argument: %v", what, err)
			}
			_, err = unsendable.Call(ctx, co, what)
			as[*wire.RemoteError](t, err)
		}
		_, err := echoBytes.Call(ctx, co, make([]byte, 2<<20))
		is(t, err, wire.ErrTooLarge)
		_, err = wire.NewMethod[string, int]("echo text").Call(ctx, co, "not a number")
		equal(t, "what failed", as[*wire.CodecError](t, err).Op, "decode")
		_, err = wire.NewMethod[int, string]("echo text").Call(ctx, co, 1)
		as[*wire.RemoteError](t, err)
		equal(t, "the worker", must[int](t)(pid.Call(ctx, co)), before)
	})
}

// panicky panics when it is encoded.
type panicky struct{}

func (panicky) MarshalCBOR() ([]byte, error) { panic("in the caller's own code") }

// TestPanicInTheAppCostsItsOwnWorkerOnly panics in an argument's encoding, where a web server, say, recovers.
func TestPanicInTheAppCostsItsOwnWorkerOnly(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	panics := func(c wire.Caller) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Error("the panic did not come through")
			}
		}()
		echo.Call(limited(t), c, panicky{})
	}
	panics(p)
	co := checkout(t, p)
	panics(co)
	if _, err := pid.Call(limited(t), co); err == nil {
		t.Error("the checkout works on with a worker in an unknown state")
	}
	co.Release()
	must[int](t)(pid.Call(limited(t), p))
	equal(t, "workers ended for it", p.Stat().Ends["the caller panicked"], 2)
}

func TestMetaReachesTheHandler(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, sharedServer(t), pool.Config{Wire: kind, MaxWorkers: 1})
		ctx := limited(t)
		view := p.With(pool.CheckoutConfig{Meta: map[string]string{"user": "ünïcode", "both": "view"}})
		seen := func(c wire.Caller, m map[string]string) map[string]string {
			t.Helper()
			var got map[string]string
			call := &wire.Call{Method: meta.Name(), Reply: &got, Meta: m}
			if err := c.Do(ctx, call); err != nil {
				t.Fatal(err)
			}
			return got
		}
		want := map[string]string{"user": "ünïcode", "both": "call"}
		if got := seen(view, map[string]string{"both": "call"}); !reflect.DeepEqual(got, want) {
			t.Errorf("the handler saw %v instead of %v", got, want)
		}
		if got := seen(p, nil); len(got) != 0 {
			t.Errorf("without meta the handler saw %v", got)
		}
		if got := seen(checkout(t, view), map[string]string{"both": "call"}); !reflect.DeepEqual(got, want) {
			t.Errorf("in a checkout the handler saw %v instead of %v", got, want)
		}
	})
}

func TestContextThatHasEndedCallsNothing(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	must[int](t)(pid.Call(limited(t), p))
	ctx, cancel := context.WithCancel(limited(t))
	cancel()
	_, err := pid.Call(ctx, p)
	is(t, err, context.Canceled)
	_, err = p.Checkout(ctx)
	is(t, err, context.Canceled)
	equal(t, "workers", p.Stat().Idle, 1)
}
