package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	becomeChild()
	os.Exit(m.Run())
}

// yardstick runs the program with arguments and returns what it prints, and its progress.
func yardstick(t *testing.T, args ...string) (out, progress string) {
	t.Helper()
	o, err := parseOptions(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if err := run(t.Context(), o, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String()
}

// TestQuickRun runs one scenario with all contenders, and some others with bullpen alone.
func TestQuickRun(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "plot.svg")
	out, progress := yardstick(t, "--quick", "--duration", "20ms", "--svg", svg, "--only",
		"^(one-caller|echo-256KiB)/|^(eight-callers|checkout|first-call|allocations|pauses-one-caller)/bullpen")
	if strings.Contains(out, "failed:") {
		t.Error("a contender has failed")
	}
	for _, want := range []string{nameBullpen, nameRaw, namePoller, nameNetRPC, nameTTRPC, namePluginRPC, namePluginGRPC,
		"one caller: calls/s / go-plugin gRPC", "allocations of a call, both sides"} {
		if !strings.Contains(out, want) {
			t.Errorf("no row %q", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
	if !strings.Contains(progress, "round 1 of 1: one-caller/bullpen: ") {
		t.Errorf("progress without the first measurement:\n%s", progress)
	}
	checkPlot(t, svg)
}

// checkPlot checks that the plot is well-formed and shows bullpen.
func checkPlot(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(text)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the plot is not XML: %v", err)
		}
	}
	for _, want := range []string{"One caller, one worker", ">bullpen</text>", "prefers-color-scheme: dark"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the plot has no %q", want)
		}
	}
}

func TestJSON(t *testing.T) {
	out, _ := yardstick(t, "--quick", "--duration", "20ms", "--rounds", "2", "--json", "--only", "^one-caller/raw socket, netpoller")
	var d struct {
		Scenarios []struct {
			Name string
			Rows []struct {
				Contender string
				Metrics   map[string]struct {
					Median float64
					Rounds []float64
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if len(d.Scenarios) != 1 || len(d.Scenarios[0].Rows) != 1 {
		t.Fatalf("more or less than one row:\n%s", out)
	}
	m := d.Scenarios[0].Rows[0].Metrics["calls/s"]
	if len(m.Rounds) != 2 || m.Median <= 0 {
		t.Errorf("calls/s is %+v", m)
	}
}

func TestOptions(t *testing.T) {
	for _, args := range [][]string{{"extra"}, {"--rounds", "0"}, {"--duration", "-1s"}, {"--scale", "0"}, {"--only", "("}} {
		var out bytes.Buffer
		if _, err := parseOptions(args, &out); err == nil || !strings.Contains(out.String(), "usage: yardstick") {
			t.Errorf("%q: error %v, and said %q", args, err, out.String())
		}
	}
	o, err := parseOptions([]string{"--quick", "--rounds", "3"}, io.Discard)
	if err != nil || o.rounds != 3 || o.scale != 0.1 {
		t.Errorf("--quick --rounds 3 gives %d rounds and scale %g (%v)", o.rounds, o.scale, err)
	}
	var help bytes.Buffer
	if _, err := parseOptions([]string{"--help"}, &help); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help gives %v", err)
	}
	if !strings.Contains(help.String(), coldStart) {
		t.Error("--help lists no scenarios")
	}
}

func TestNothingMatches(t *testing.T) {
	o, err := parseOptions([]string{"--only", "no such thing"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), o, io.Discard, io.Discard); err == nil {
		t.Error("no error")
	}
}
