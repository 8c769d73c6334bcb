package poolslog_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/pool/poolslog"
)

// kept is a slog handler that keeps what it gets.
type kept struct {
	from    slog.Level
	records *[]slog.Record
}

func (k kept) Enabled(_ context.Context, l slog.Level) bool { return l >= k.from }
func (k kept) Handle(_ context.Context, r slog.Record) error {
	*k.records = append(*k.records, r)
	return nil
}
func (k kept) WithAttrs([]slog.Attr) slog.Handler { return k }
func (k kept) WithGroup(string) slog.Handler      { return k }

func attrs(r slog.Record) map[string]any {
	m := map[string]any{}
	r.Attrs(func(a slog.Attr) bool { m[a.Key] = a.Value.Any(); return true })
	return m
}

func TestRecords(t *testing.T) {
	t.Parallel()
	k := kept{from: poolslog.LevelTrace, records: new([]slog.Record)}
	l := poolslog.New(slog.New(k))
	cause := errors.New("cause")
	made := time.Date(2026, 11, 24, 1, 2, 3, 4, time.UTC)
	begin := time.Now()
	l.Trace("t", "n", 1)
	l.Debug("d", "error", cause)
	l.With("with", "this").Named("sub").Info("i", 7, hclog.Fmt("%03d", 5))
	l.Warn("w", "alone")
	l.Error("e", "timestamp", made, "pid", 17)
	l.Log(hclog.NoLevel, "none")
	l.Log(hclog.Off, "off")
	for i, want := range []struct {
		level slog.Level
		text  string
		attrs map[string]any
	}{
		{poolslog.LevelTrace, "t", map[string]any{"n": int64(1)}},
		{slog.LevelDebug, "d", map[string]any{"error": cause}},
		{slog.LevelInfo, "i", map[string]any{"with": "this", "logger": "sub", "7": "005"}},
		{slog.LevelWarn, "w", map[string]any{hclog.MissingKey: "alone"}},
		{slog.LevelError, "e", map[string]any{"pid": int64(17)}},
		{slog.LevelInfo, "none", map[string]any{}},
	} {
		r := (*k.records)[i]
		if r.Level != want.level || r.Message != want.text || !reflect.DeepEqual(attrs(r), want.attrs) {
			t.Errorf("record %d is %v %q %v instead of %v", i, r.Level, r.Message, attrs(r), want)
		}
		if want.text == "e" && !r.Time.Equal(made) || want.text != "e" && (r.Time.Before(begin) || r.Time.After(time.Now())) {
			t.Errorf("record %d was made at %v", i, r.Time)
		}
	}
	if n := len(*k.records); n != 6 {
		t.Errorf("%d records", n)
	}
}

func TestLevelIsTheHandlers(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := poolslog.New(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})).With("app", "mine"))
	l.Info("quiet")
	l.Warn("loud", "n", 1)
	if got := out.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "level=WARN msg=loud app=mine n=1\n") {
		t.Errorf("printed: %s", got)
	}
}

func TestNilIsTheDefault(t *testing.T) { // not parallel: there is one default
	before := slog.Default()
	defer slog.SetDefault(before)
	k := kept{records: new([]slog.Record)}
	slog.SetDefault(slog.New(k))
	poolslog.New(nil).Info("hello")
	if n := len(*k.records); n != 1 {
		t.Errorf("%d records", n)
	}
}
