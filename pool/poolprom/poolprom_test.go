//go:build linux || darwin

package poolprom_test

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/pool/poolprom"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

const patience = time.Minute

var service = server.NewService("tested", server.Hooks{})

var crash = server.Handle0(service, "crash", func(context.Context) (wire.None, error) { os.Exit(3); return wire.None{}, nil })

var hello = server.Handle0(service, "hello", func(context.Context) (string, error) { return "hello", nil })

func TestMain(m *testing.M) {
	forkserver.Init()
	os.Exit(m.Run())
}

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newPools(t *testing.T, names ...string) (pools []*pool.Pool) {
	t.Helper()
	srv, err := forkserver.Start(limited(t), service, forkserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	for _, name := range names {
		p, err := pool.New(srv, pool.Config{Name: name, MinWorkers: -1, MaxWorkers: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		pools = append(pools, p)
	}
	return pools
}

// gather returns what a scrape would see, by metric and labels. A histogram is there as its count.
func gather(t *testing.T, c prometheus.Collector) (map[string]float64, map[string]*dto.Histogram) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values, histograms := map[string]float64{}, map[string]*dto.Histogram{}
	for _, f := range families {
		for _, m := range f.Metric {
			key := strings.TrimPrefix(f.GetName(), "bullpen_pool_")
			for _, l := range m.Label {
				key += " " + l.GetValue()
			}
			switch f.GetType() {
			case dto.MetricType_GAUGE:
				values[key] = m.Gauge.GetValue()
			case dto.MetricType_COUNTER:
				values[key] = m.Counter.GetValue()
			case dto.MetricType_HISTOGRAM:
				histograms[key] = m.Histogram
			}
		}
	}
	return values, histograms
}

func TestCollector(t *testing.T) {
	t.Parallel()
	pools := newPools(t, "one", "two")
	c, err := poolprom.New(pools...)
	if err != nil {
		t.Fatal(err)
	}
	crash.Call(limited(t), pools[0])
	for range 3 {
		if _, err := hello.Call(limited(t), pools[0]); err != nil {
			t.Fatal(err)
		}
	}
	co, err := pools[1].Checkout(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	defer co.Release()
	ctx, cancel := context.WithCancel(limited(t))
	waits := hello.Go(ctx, pools[1])
	values, histograms := gather(t, c)
	cancel()
	<-waits.Done()
	for key, want := range map[string]float64{
		"workers one idle": 1, "workers one acquired": 0, "workers two acquired": 1, "workers two idle": 0, "workers two connecting": 0,
		"max_workers one": 1, "waiting one": 0, "waiting two": 1, "checkouts_total one": 4, "checkouts_total two": 1,
		"waited_total one": 2, "connects_total one": 2, "connect_failures_total one": 0, "worker_ends_total one died": 1,
		"checkout_failures_total two canceled": 0, "checkout_failures_total two timeout": 0, "checkout_failures_total two queue full": 0,
	} {
		if got, ok := values[key]; !ok || got != want {
			t.Errorf("%s is %v (%t) instead of %v", key, got, ok, want)
		}
	}
	if values, _ := gather(t, c); values["checkout_failures_total two canceled"] != 1 {
		t.Errorf("after a wait was canceled: %v", values)
	}
	stat := pools[0].Stat()
	for key, want := range map[string]pool.Histogram{"run_seconds one": stat.Run, "wait_seconds one": stat.Wait} {
		h := histograms[key]
		if h.GetSampleCount() != 4 || h.GetSampleSum() != want.Sum.Seconds() || len(h.Bucket) != 28 {
			t.Errorf("%s: %v", key, h)
		}
		last := h.Bucket[len(h.Bucket)-1]
		if h.Bucket[0].GetUpperBound() != 1e-6 || last.GetUpperBound() != 1000 || last.GetCumulativeCount() != 4 {
			t.Errorf("%s has the buckets %v", key, h.Bucket)
		}
	}
}

func TestAddAndRemove(t *testing.T) {
	t.Parallel()
	pools := newPools(t, "one", "one", "two")
	if _, err := poolprom.New(pools...); err == nil || !strings.Contains(err.Error(), `two pools "one"`) {
		t.Errorf("two pools of one name: %v", err)
	}
	c, err := poolprom.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Add(nil); err == nil {
		t.Error("a nil pool was added")
	}
	for range 2 { // the second time changes nothing
		if err := c.Add(pools[0]); err != nil {
			t.Error(err)
		}
	}
	c.Remove(pools[1]) // isn't in, though its name is
	c.Remove(nil)
	if values, _ := gather(t, c); values["max_workers one"] != 1 {
		t.Errorf("with one pool: %v", values)
	}
	c.Remove(pools[0])
	if values, _ := gather(t, c); len(values) != 0 {
		t.Errorf("without a pool: %v", values)
	}
}

// TestExample runs the example as its comment says.
func TestExample(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "example")
	if out, err := exec.CommandContext(limited(t), "go", "build", "-o", program, "./example").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.CommandContext(limited(t), program).Output()
	if err != nil {
		t.Fatal(err)
	}
	checkScrape(t, string(out))

	c := exec.CommandContext(limited(t), program, "-listen", "127.0.0.1:0")
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), `bullpen_pool_workers{pool="naps",state="idle"}`) { // the last line
			c.Process.Signal(os.Interrupt)
		}
	}
	if err := c.Wait(); err != nil {
		t.Error("interrupted, it ended with ", err)
	}
	checkScrape(t, text.String())
}

func checkScrape(t *testing.T, text string) {
	t.Helper()
	for _, line := range []string{
		`bullpen_pool_checkouts_total{pool="naps"} 6`,
		`bullpen_pool_worker_ends_total{pool="naps",reason="died"} 1`,
		`bullpen_pool_run_seconds_count{pool="naps"} 6`,
		`bullpen_pool_run_seconds_bucket{pool="naps",le="0.01"} 1`,
		`bullpen_pool_wait_seconds_bucket{pool="naps",le="+Inf"} 6`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the scrape lacks %s\n%s", line, text)
		}
	}
}
