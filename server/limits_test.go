package server

import (
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

func TestLimitsInForce(t *testing.T) {
	t.Parallel()
	if got, want := (Limits{}).withDefaults(), (Limits{HungTimeout: 5 * time.Minute, SetupTimeout: 30 * time.Second,
		CancelGrace: 100 * time.Millisecond, MaxMessage: wire.DefaultMaxMessage, Procs: 1, MaxSilent: 1000}); got != want {
		t.Errorf("the defaults are %+v", got)
	}
	if got, want := (Limits{-1, -1, -1, -1, -1, -1, -1, -1}).withDefaults(), (Limits{MaxMessage: 2 << 30}); got != want {
		t.Errorf("no limits are %+v", got)
	}
	given := Limits{1, 2, 3, 4, 5, 6, 7, 8}
	if got := given.withDefaults(); got != given {
		t.Errorf("%+v became %+v", given, got)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	var b backoff
	if b.delay() != 0 {
		t.Errorf("the first try waits for %v", b.delay())
	}
	var before time.Duration
	for i := range 100 {
		b.fail()
		d := b.delay()
		if d < before || d < 50*time.Millisecond || d > time.Second {
			t.Fatalf("after %d failures: %v after %v", i+1, d, before)
		}
		before = d
	}
	if before != time.Second {
		t.Errorf("it grows to %v", before)
	}
	b.succeed()
	if b.delay() != 0 {
		t.Errorf("after a success: %v", b.delay())
	}
}
