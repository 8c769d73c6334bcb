//go:build linux

package main

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// TestChaos is a short run of bullpen chaos.
func TestChaos(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")) // or what the race detector is in lives for a second more
	var out bytes.Buffer
	report, err := chaosRun(t.Context(), chaosConfig{Duration: 2 * time.Second, Workers: 8, Callers: 32, Seed: uint64(time.Now().UnixNano() % 1e6), Out: &out})
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if !report.clean() {
		t.Errorf("something is not 0 that must be:\n%s", &out)
	}
	t.Logf("%s", &out)
	if report.ledger.calls < 100 {
		t.Errorf("%d calls are too few to show anything:\n%s", report.ledger.calls, &out)
	}
}

// TestRecycles is a short run of bullpen chaos --recycles.
func TestRecycles(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	var out bytes.Buffer
	clean, err := chaosSoakRun(t.Context(), chaosConfig{Workers: 8, Callers: 16, Out: &out}, 200)
	if err != nil || !clean {
		t.Errorf("%v\n%s", err, &out)
	}
	t.Logf("%s", &out)
}
