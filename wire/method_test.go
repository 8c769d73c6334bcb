package wire_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// echo is a Caller that answers with the method's name and arguments, or with an error.
type echo struct{ fail error }

func (e echo) Do(_ context.Context, call *wire.Call) error {
	call.Cost = wire.Cost{Queued: time.Second, Run: time.Minute}
	if reply, ok := call.Reply.(*string); ok {
		*reply = call.Method
		for _, a := range call.Args {
			*reply += fmt.Sprintf(" %v", reflect.ValueOf(a).Elem())
		}
	}
	return e.fail
}

func (e echo) Go(ctx context.Context, call *wire.Call) { go func() { call.Finish(e.Do(ctx, call)) }() }

// silent is a Caller that leaves the reply alone.
type silent struct{ echo }

func (silent) Do(context.Context, *wire.Call) error { return nil }

func TestMethods(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	m0, m1 := wire.NewMethod0[string]("m0"), wire.NewMethod[int, string]("m1")
	m2, m3 := wire.NewMethod2[int, string, string]("m2"), wire.NewMethod3[int, string, bool, string]("m3")
	if names := m0.Name() + m1.Name() + m2.Name() + m3.Name(); names != "m0m1m2m3" {
		t.Errorf("names %q", names)
	}
	for _, test := range []struct {
		call  func(wire.Caller) (string, error)
		start func(wire.Caller) *wire.Pending[string]
		want  string
	}{
		{func(c wire.Caller) (string, error) { return m0.Call(ctx, c) },
			func(c wire.Caller) *wire.Pending[string] { return m0.Go(ctx, c) }, "m0"},
		{func(c wire.Caller) (string, error) { return m1.Call(ctx, c, 1) },
			func(c wire.Caller) *wire.Pending[string] { return m1.Go(ctx, c, 1) }, "m1 1"},
		{func(c wire.Caller) (string, error) { return m2.Call(ctx, c, 1, "b") },
			func(c wire.Caller) *wire.Pending[string] { return m2.Go(ctx, c, 1, "b") }, "m2 1 b"},
		{func(c wire.Caller) (string, error) { return m3.Call(ctx, c, 1, "b", true) },
			func(c wire.Caller) *wire.Pending[string] { return m3.Go(ctx, c, 1, "b", true) }, "m3 1 b true"},
	} {
		for range 3 { // boxes are used again
			if got, err := test.call(echo{}); err != nil || got != test.want {
				t.Errorf("%s: got %q, %v", test.want, got, err)
			}
		}
		if got, err := test.call(silent{}); err != nil || got != "" {
			t.Errorf("%s: without a reply it is still %q, %v", test.want, got, err)
		}
		oops := errors.New("oops")
		if got, err := test.call(echo{oops}); err != oops || got != "" {
			t.Errorf("%s: a failed call gave %q, %v", test.want, got, err)
		}
		p := test.start(echo{})
		<-p.Done()
		for range 2 {
			if got, err := p.Wait(); err != nil || got != test.want {
				t.Errorf("%s: Wait gave %q, %v", test.want, got, err)
			}
		}
		if p.Cost() != (wire.Cost{Queued: time.Second, Run: time.Minute}) {
			t.Errorf("%s: cost %+v", test.want, p.Cost())
		}
		if got, err := test.start(echo{oops}).Wait(); err != oops || got != "" {
			t.Errorf("%s: a failed Go gave %q, %v", test.want, got, err)
		}
	}
}

type coded struct{ code string }

func (c coded) Error() string     { return "coded" }
func (c coded) ErrorCode() string { return c.code }

func TestRemoteError(t *testing.T) {
	t.Parallel()
	plain := errors.New("plain")
	inner := &wire.RemoteError{Message: "inner", Type: "t", Code: "c", Stack: "s"}
	for _, test := range []struct {
		err  error
		want wire.RemoteError
	}{
		{plain, wire.RemoteError{Message: "plain", Type: "*errors.errorString"}},
		{fmt.Errorf("at: %w", plain), wire.RemoteError{Message: "at: plain", Type: "*fmt.wrapError"}},
		{wire.WithCode(plain, "NOENT"), wire.RemoteError{Message: "plain", Type: "*errors.errorString", Code: "NOENT"}},
		{wire.WithCode(wire.WithCode(plain, "in"), "out"), wire.RemoteError{Message: "plain", Type: "*errors.errorString", Code: "out"}},
		{fmt.Errorf("at: %w", wire.WithCode(plain, "NOENT")), wire.RemoteError{Message: "at: plain", Type: "*fmt.wrapError", Code: "NOENT"}},
		{coded{"own"}, wire.RemoteError{Message: "coded", Type: "wire_test.coded", Code: "own"}},
		{inner, *inner},
		{wire.WithCode(inner, "new"), wire.RemoteError{Message: "inner", Type: "t", Code: "new", Stack: "s"}},
	} {
		if got := wire.NewRemoteError(test.err); *got != test.want {
			t.Errorf("%v: got %+v, want %+v", test.err, *got, test.want)
		}
	}
	if inner.Code != "c" {
		t.Error("NewRemoteError changed its argument")
	}
	err := wire.WithCode(fmt.Errorf("at: %w", plain), "x")
	if !errors.Is(err, plain) || err.Error() != "at: plain" || wire.WithCode(nil, "x") != nil {
		t.Errorf("WithCode: %v", err)
	}
	remote := fmt.Errorf("call: %w", wire.NewRemoteError(err))
	if !errors.Is(remote, &wire.RemoteError{Code: "x"}) || errors.Is(remote, &wire.RemoteError{Code: "y"}) || errors.Is(remote, &wire.RemoteError{}) {
		t.Errorf("Is compares something other than the code")
	}
	panicked := &wire.RemoteError{Message: "boom", Type: wire.TypePanic}
	if !strings.Contains(panicked.Error(), "panic") || !strings.Contains(panicked.Error(), "boom") {
		t.Errorf("a panic reads %q", panicked)
	}
}

func TestSafeToRetry(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{
		nil:                false,
		errors.New("x"):    false,
		&wire.SetupError{}: true,
		fmt.Errorf("call: %w", &wire.SetupError{}):                              true,
		&wire.CodecError{Op: "encode", Err: errors.New("x")}:                    true,
		&wire.CodecError{Op: "decode", Err: errors.New("x")}:                    false,
		&wire.ProtocolError{Message: "x"}:                                       false,
		&wire.RemoteError{Message: "x"}:                                         false,
		fmt.Errorf("%w", &wire.CodecError{Op: "encode", Err: wire.ErrTooLarge}): true,
	} {
		if got := wire.SafeToRetry(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

func TestLogDefer(t *testing.T) {
	t.Parallel()
	l := &wire.LogDefer{Start: 1795447042.5, Logs: []wire.LogRecord{
		{Offset: 0.25, Level: wire.LogInfo, Message: "m", Data: map[string]any{"k": "v", "n": int64(1<<53 + 1)}},
		{Offset: 1, Level: wire.LogError, Message: "n"},
	}, Timers: []wire.LogTimer{{Name: "t", From: 0.5, To: 2}, {Name: "open", From: 1}}}
	for _, kind := range bothKinds {
		text := written(t, false, kind, &wire.Message{Type: wire.TypeOK, Values: []any{nil}, Meta: map[string]any{wire.MetaLog: l.Value()}})
		var m wire.Message
		if err := reader(false, kind, 0, strings.NewReader(string(text))).Read(&m); err != nil {
			t.Fatal(err)
		}
		got, err := wire.ParseLogDefer(m.Meta[wire.MetaLog])
		if err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("%s wire: got %+v, %v", kind, got, err)
		}
	}
	if at := l.Time(l.Logs[0]); !at.Equal(time.Unix(1795447042, 750_000_000)) {
		t.Errorf("time %v", at)
	}
	for _, bad := range []any{
		nil, 7, "x", map[string]any{"logs": []any{1}}, map[string]any{"logs": []any{[]any{1, 2}}},
		map[string]any{"logs": []any{[]any{"a", 2, "m"}}}, map[string]any{"timers": []any{[]any{"t"}}},
	} {
		if _, err := wire.ParseLogDefer(bad); err == nil {
			t.Errorf("%v passed for log records", bad)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		wire.Binary.String(): "binary", wire.JSON.String(): "json", wire.TypeCancel.String(): "cancel", wire.Type(99).String(): "type 99",
		(&wire.Exit{Code: 3, Reason: wire.ExitExited}).String():                                   "ended with exit code 3",
		(&wire.Exit{Code: -1}).String():                                                           "ended in an unknown way",
		(&wire.Exit{Code: -1, Signal: 9, SignalName: "killed", Reason: wire.ExitHung}).String():   "was ended by signal 9 (killed), hung",
		(&wire.Exit{Reason: wire.ExitNotStarted, Detail: "EAGAIN"}).String():                      "could not be started: EAGAIN",
		(&wire.Exit{StderrHead: []byte("a"), StderrTail: []byte("b"), StderrSkipped: 5}).Stderr(): "a\n[… 5 bytes …]\nb",
		(&wire.SetupError{Message: "m"}).Error():                                                  "setup exception: m",
		(&wire.SetupError{Service: "s", Message: "m"}).Error():                                    `bullpen: the setup of a "s" worker failed: m`,
		(&wire.ProtocolError{Message: "m", Err: wire.ErrTooLarge}).Error():                        "bullpen: protocol violation: m: larger than MaxMessage allows",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
