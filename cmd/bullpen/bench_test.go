//go:build linux || darwin

package main

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestBench(t *testing.T) {
	t.Parallel()
	o := runs(t, "", "bench", "--duration", "1500ms", "--concurrency", "4", "--warmup", "100ms")
	if o.code != 0 || !regexp.MustCompile(`(?m)^ +self +[1-9]\d* +0 +[1-9]\d* .*s$`).MatchString(o.out) || !strings.Contains(o.out, "█") {
		t.Errorf("exit status %d, %s%s", o.code, o.out, o.err)
	}
	if !strings.Contains(o.err, "calls/s") {
		t.Errorf("it shows no progress: %q", o.err)
	}
}

// benchJSON runs bench with --json.
func benchJSON(t *testing.T, args ...string) benchResult {
	t.Helper()
	o := runs(t, "", append([]string{"bench", "--json", "--warmup", "100ms"}, args...)...)
	var r benchResult
	if err := json.Unmarshal([]byte(o.out), &r); err != nil || o.code != 0 {
		t.Fatalf("exit status %d, %v: %s%s", o.code, err, o.out, o.err)
	}
	for _, target := range r.Targets {
		sum := int64(0)
		for _, b := range target.Histogram {
			sum += b.Calls
		}
		if f := target.Total; f.Calls == 0 || sum != f.Calls || f.P50 > f.P99 || f.P99 > f.Max {
			t.Errorf("%s: %d calls in the histogram, %+v", target.Name, sum, f)
		}
	}
	return r
}

// An address is compared with bench's own workers, in turns, and with calls on the JSON wire.
func TestBenchCompares(t *testing.T) {
	t.Parallel()
	w, address := serving(t, append([]string{"--listen", filepath.Join(t.TempDir(), "s"), "--"}, echoWorker...)...)
	r := benchJSON(t, "--against", address, "--duration", "600ms", "--rounds", "3", "--wire", "json", "--payload", "10")
	if len(r.Targets) != 2 || r.Targets[0].Name != "self" || r.Targets[1].Name != address || len(r.Targets[1].Rounds) != 3 {
		t.Fatalf("%+v", r)
	}
	if ratio := r.Ratio["p50"]; ratio <= 1 { // a shell script needs many times as long
		t.Errorf("p50 has the ratio %v", ratio)
	}
	w.interrupt()
	w.ends(0)
}

// Calls begin at the rate, and what the target can't keep up with is told.
func TestBenchAtARate(t *testing.T) {
	t.Parallel()
	r := benchJSON(t, "--rate", "50", "--duration", "1s")
	if f := r.Targets[0].Total; f.Calls+int64(f.Unsent) != 50 {
		t.Errorf("%+v", f)
	}
	w, address := serving(t, "--listen", filepath.Join(t.TempDir(), "s"), "--", "sh", "-c", `while read x; do sleep 0.05; echo '["ok",{},null]'; done`)
	r = benchJSON(t, "--connect", address, "--method", "nap", "--rate", "200", "--duration", "1s", "--workers", "1", "--concurrency", "2")
	f := r.Targets[0].Total
	if f.Unsent == 0 || f.Calls+int64(f.Unsent) != 200 {
		t.Errorf("a target that can't keep up: %+v", f)
	}
	// Of about 20 calls the last ones were due early on: closed-loop figures would all be near 0.1 s.
	if f.Max < 300*time.Millisecond {
		t.Errorf("the time before a call was begun is missing: %+v", f)
	}
	w.interrupt()
	w.ends(0)
}

func TestBenchErrors(t *testing.T) {
	t.Parallel()
	runs(t, "", "bench", "--method", "nothing").fails(t, `has no method "nothing"`)
	runs(t, "", "bench", "--connect", filepath.Join(t.TempDir(), "nobody"), "--timeout", "100ms").fails(t, "no worker became free")
	runs(t, "", "bench", "--workers", "0").fails(t, "must be at least 1")
	runs(t, "", "bench", "--wire", "x").fails(t, "binary or json")
}

func TestBenchIsInterrupted(t *testing.T) {
	t.Parallel()
	w := open(t, "bench", "--duration", "1h", "--rate", "100")
	w.wait("calls/s")
	w.interrupt()
	if text := w.ends(0); !strings.Contains(text, "how long the calls took") || strings.Contains(text, "can't keep up: 3") {
		t.Error(text)
	}
}

// The time that a call was late counts.
func TestBenchPace(t *testing.T) {
	t.Parallel()
	p := &benchPace{start: time.Now().Add(-time.Second), end: 2 * time.Second, rate: 10}
	for n := range 5 {
		due, ok := p.next(t.Context())
		if want := p.start.Add(time.Duration(n) * 100 * time.Millisecond); !ok || !due.Equal(want) {
			t.Errorf("call %d is due at %v instead of %v", n, due, want)
		}
	}
	if n := p.unsent(); n != 15 {
		t.Errorf("%d calls are unsent", n)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, ok := p.next(ctx); ok {
		t.Error("it goes on after its end")
	}
	if n := p.unsent(); n < 5 || n > 15 {
		t.Errorf("%d calls are unsent of a round that was ended", n)
	}
}
