package main

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

var nan = math.NaN()

// same compares numbers, and takes NaN for equal to itself.
func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

func TestPercentile(t *testing.T) {
	for _, c := range []struct {
		values []float64
		p      float64
		want   float64
	}{
		{nil, 50, nan},
		{[]float64{nan}, 50, nan},
		{[]float64{7}, 50, 7},
		{[]float64{7}, 99, 7},
		{[]float64{3, 1, 2}, 50, 2},
		{[]float64{4, 1, 2, 3}, 50, 2.5},
		{[]float64{4, nan, 2}, 50, 3},
		{[]float64{1, 2, 3, 4, 5}, 0, 1},
		{[]float64{1, 2, 3, 4, 5}, 100, 5},
		{[]float64{0, 10}, 99, 9.9},
	} {
		if got := percentile(c.values, c.p); !same(got, c.want) {
			t.Errorf("percentile %g of %v is %g instead of %g", c.p, c.values, got, c.want)
		}
	}
}

func TestPercentileLeavesItsArgument(t *testing.T) {
	values := []float64{3, 1, 2}
	median(values)
	if values[0] != 3 || values[1] != 1 {
		t.Errorf("sorted the caller's values: %v", values)
	}
}

// TestRatio checks that rounds are compared with each other: the second one was disturbed for both.
func TestRatio(t *testing.T) {
	r := newResults()
	a, b := key{"s", "a"}, key{"s", "b"}
	for round, x := range []float64{10, 100, 12} {
		r.add(a, round, values{rate: x}, nil)
	}
	for round, x := range []float64{5, 50, 6} {
		r.add(b, round, values{rate: x}, nil)
	}
	if got := r.ratio(a, b, rate); got != 2 {
		t.Errorf("ratio %g instead of 2", got)
	}
	if got := r.ratio(a, key{"s", "c"}, rate); !math.IsNaN(got) {
		t.Errorf("ratio %g with what was not measured", got)
	}
}

// TestMissingRound checks that a round that failed does not move the others.
func TestMissingRound(t *testing.T) {
	r := newResults()
	k := key{"s", "a"}
	r.add(k, 0, values{rate: 1}, nil)
	r.add(k, 1, nil, errors.New("broken"))
	r.add(k, 2, values{rate: 3}, nil)
	got := r.of(k, rate)
	if len(got) != 3 || got[0] != 1 || !math.IsNaN(got[1]) || got[2] != 3 {
		t.Errorf("rounds %v", got)
	}
	if r.failed[k] == nil {
		t.Error("the error is lost")
	}
}

func TestSummary(t *testing.T) {
	latencies := []time.Duration{time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond}
	v := summary(load{size: 1 << 30}, latencies, 2*time.Second, 6*time.Millisecond)
	for m, want := range (values{rate: 1.5, p50: 2000, cpu: 2000, throughput: 3}) {
		if v[m] != want {
			t.Errorf("%s is %g instead of %g", m, v[m], want)
		}
	}
}

func TestGoals(t *testing.T) {
	of, against := key{"s", "of"}, key{"s", "against"}
	r := newResults()
	r.add(of, 0, values{rate: 8, gcWorst: 8}, nil)
	r.add(of, 1, values{rate: 8, gcWorst: 2}, nil)
	r.add(against, 0, values{rate: 10, gcWorst: 2}, nil)
	r.add(against, 1, values{rate: 10, gcWorst: 1}, nil)
	for _, c := range []struct {
		goal goal
		want float64
		met  bool
	}{
		{goal{of: of, metric: rate, against: against, least: 0.9}, 0.8, false},
		{goal{of: of, metric: rate, against: against, least: 0.8}, 0.8, true},
		{goal{of: of, metric: rate, against: against, most: 0.9}, 0.8, true},
		{goal{of: of, metric: rate, most: 7}, 8, false},
		{goal{of: of, metric: gcWorst, against: against, most: 2}, 3, false},
		{goal{of: of, metric: p50, most: 7}, nan, false},
	} {
		v := c.goal.judge(r)
		if !same(v.measured, c.want) || v.met() != c.met {
			t.Errorf("%+v: measured %g, met %v", c.goal, v.measured, v.met())
		}
	}
}

// TestGoalsName checks that each goal is about rows that there are.
func TestGoalsName(t *testing.T) {
	rows := map[key]map[metric]bool{}
	for _, s := range (&plan{scale: 1}).scenarios() {
		for _, st := range s.steps {
			k := key{s.name, st.contender}
			if rows[k] != nil {
				t.Errorf("two rows %v", k)
			}
			rows[k] = map[metric]bool{}
			for _, m := range s.metrics {
				rows[k][m] = true
			}
		}
	}
	for _, g := range goals() {
		if !rows[g.of][g.metric] || g.against != (key{}) && !rows[g.against][g.metric] {
			t.Errorf("goal %q compares what is not measured", g.what)
		}
		if (g.most == 0) == (g.least == 0) {
			t.Errorf("goal %q has no bound, or two", g.what)
		}
	}
}

func TestFigure(t *testing.T) {
	for x, want := range map[float64]string{
		nan: "–", 0: "0.000", 0.1234: "0.123", 1.234: "1.23", 56.78: "56.8", 123.4: "123", 1234: "1,230",
		1234567: "1,230,000", 99950: "100,000", -5: "-5.00",
	} {
		if got := figure(x); got != want {
			t.Errorf("%g is shown as %q instead of %q", x, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	tab := &table{}
	tab.add("", "µs", "x")
	tab.add("name", "1", "–")
	tab.write(&b)
	if want := "        µs  x\n  name   1  –\n"; b.String() != want {
		t.Errorf("%q instead of %q", b.String(), want)
	}
}

func TestCrowd(t *testing.T) {
	if got := allWorkers.times(0.1); got != (crowd{100, 10_000, 100}) {
		t.Errorf("a tenth is %+v", got)
	}
	if got := manyWorkers.times(0.0001); got != (crowd{10, 100, 10}) {
		t.Errorf("almost nothing is %+v", got)
	}
}
