package server

import (
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/hashicorp/go-hclog"
)

type logged struct {
	level hclog.Level
	msg   string
	data  map[string]any
}

func newTestLogger() (hclog.Logger, *[]logged) {
	var got []logged
	sink := func(level hclog.Level, msg string, data map[string]any) { got = append(got, logged{level, msg, data}) }
	return &logger{sink: sink, level: new(levelVar)}, &got
}

func TestHandlersLogger(t *testing.T) {
	t.Parallel()
	l, got := newTestLogger()
	l.Trace("trace")
	l.Debug("debug", "n", 1)
	l.Info("info", "err", errors.New("bad"), "odd")
	l.Warn("warn", 7, "key")
	l.Error("error")
	l.Log(hclog.Off, "never")
	named := l.Named("a").With("x", 1).Named("b")
	named.Info("named", "y", 2)
	named.ResetNamed("c").Info("renamed")
	want := []logged{
		{hclog.Trace, "trace", nil},
		{hclog.Debug, "debug", map[string]any{"n": 1}},
		{hclog.Info, "info", map[string]any{"err": "bad", hclog.MissingKey: "odd"}},
		{hclog.Warn, "warn", map[string]any{"7": "key"}},
		{hclog.Error, "error", nil},
		{hclog.Info, "a.b: named", map[string]any{"x": 1, "y": 2}},
		{hclog.Info, "c: renamed", map[string]any{"x": 1}},
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("%+v", *got)
	}
	if named.Name() != "a.b" || len(named.ImpliedArgs()) != 2 {
		t.Errorf("%q, %v", named.Name(), named.ImpliedArgs())
	}
}

func TestHandlersLoggerHasALevel(t *testing.T) {
	t.Parallel()
	l, got := newTestLogger()
	if !l.IsTrace() || !l.IsError() {
		t.Error("not all is logged")
	}
	derived := l.With("k", "v")
	l.SetLevel(hclog.Warn)
	derived.Info("no")
	derived.Warn("yes")
	if len(*got) != 1 || l.IsInfo() || l.IsDebug() || l.IsTrace() || !l.IsWarn() || derived.GetLevel() != hclog.Warn {
		t.Errorf("%+v at %v", *got, derived.GetLevel())
	}
}

func TestHandlersStandardLogger(t *testing.T) {
	t.Parallel()
	l, got := newTestLogger()
	l.StandardLogger(nil).Printf("a line")
	l.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Error}).Print("bad")
	if len(*got) != 2 || (*got)[0].msg != "a line" || (*got)[0].level != hclog.Info || (*got)[1].level != hclog.Error {
		t.Errorf("%+v", *got)
	}
}

// What can't be carried by both wires becomes text.
func TestFieldValues(t *testing.T) {
	t.Parallel()
	type pair struct{ A, B int }
	for _, test := range []struct{ in, want any }{
		{nil, nil},
		{true, true},
		{int8(-1), int8(-1)},
		{uint64(math.MaxUint64), uint64(math.MaxUint64)},
		{1.5, 1.5},
		{math.NaN(), "NaN"},
		{math.Inf(-1), "-Inf"},
		{"text", "text"},
		{"\xff", "\uFFFD"},
		{[]byte("bytes"), "[98 121 116 101 115]"},
		{errors.New("bad \xff"), "bad \uFFFD"},
		{pair{1, 2}, "{1 2}"},
		{hclog.Fmt("%d%%", 5), "5%"},
		{hclog.Format{}, ""},
		{hclog.Hex(255), "255"},
	} {
		if got := fieldValue(test.in); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%v (%T): %v (%T)", test.in, test.in, got, got)
		}
	}
}
