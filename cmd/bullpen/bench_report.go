package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// benchFigures are a round's figures, or those of all rounds of a target. Times are in nanoseconds.
type benchFigures struct {
	Calls   int64         `json:"calls"`
	Errors  int           `json:"errors"`
	Unsent  int           `json:"unsent"` // with --rate: calls that were due and never begun
	Seconds float64       `json:"seconds"`
	Rate    float64       `json:"calls_per_second"`
	Mean    time.Duration `json:"mean"`
	P50     time.Duration `json:"p50"`
	P90     time.Duration `json:"p90"`
	P99     time.Duration `json:"p99"`
	P999    time.Duration `json:"p99.9"`
	Max     time.Duration `json:"max"`
}

func (r *benchRound) figures() benchFigures {
	at := func(q float64) time.Duration { return time.Duration(r.times.ValueAtQuantile(q)) }
	n := r.times.TotalCount()
	return benchFigures{Calls: n, Errors: r.failed(), Unsent: r.unsent, Seconds: r.took.Seconds(), Rate: float64(n) / r.took.Seconds(),
		Mean: time.Duration(r.times.Mean()), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: time.Duration(r.times.Max())}
}

// benchBar is a line of the histogram: calls that took from From up to To.
type benchBar struct {
	From  time.Duration `json:"from"`
	To    time.Duration `json:"to"`
	Calls int64         `json:"calls"`
}

// bars returns the histogram, in steps of 1, 2, 5, 10 and so on.
func (r *benchRound) bars() []benchBar {
	var bars []benchBar
	edges := func(v time.Duration) (from, to time.Duration) {
		for unit := time.Microsecond; ; unit *= 10 {
			for _, s := range [][2]time.Duration{{1, 2}, {2, 5}, {5, 10}} {
				if v < s[1]*unit {
					return s[0] * unit, s[1] * unit
				}
			}
		}
	}
	for _, b := range r.times.Distribution() {
		if b.Count == 0 {
			continue
		}
		from, to := edges(time.Duration(b.From))
		if n := len(bars); n > 0 && bars[n-1].From == from {
			bars[n-1].Calls += b.Count
		} else {
			for n > 0 && bars[n-1].To < from { // a gap shows
				lower, upper := edges(bars[n-1].To)
				bars = append(bars, benchBar{From: lower, To: upper})
				n++
			}
			bars = append(bars, benchBar{from, to, b.Count})
		}
	}
	return bars
}

// benchResult is what --json prints.
type benchResult struct {
	Concurrency int                 `json:"concurrency"`
	Workers     int                 `json:"workers"`
	Payload     int                 `json:"payload"`
	Rate        float64             `json:"rate"` // 0: as many calls as there is room for
	Wire        string              `json:"wire"`
	Targets     []benchTargetResult `json:"targets"`
	// Ratio is the second target's figures divided by the first one's: the median of all rounds.
	Ratio map[string]float64 `json:"ratio,omitempty"`
}

type benchTargetResult struct {
	Name      string         `json:"name"`
	Total     benchFigures   `json:"total"`
	Rounds    []benchFigures `json:"rounds"`
	Histogram []benchBar     `json:"histogram"`
	Errors    map[string]int `json:"error_texts,omitempty"`
}

// benchColumns are what targets are compared by.
var benchColumns = []struct {
	name string
	of   func(benchFigures) float64
}{
	{"calls/s", func(f benchFigures) float64 { return f.Rate }},
	{"mean", func(f benchFigures) float64 { return float64(f.Mean) }},
	{"p50", func(f benchFigures) float64 { return float64(f.P50) }},
	{"p90", func(f benchFigures) float64 { return float64(f.P90) }},
	{"p99", func(f benchFigures) float64 { return float64(f.P99) }},
	{"p99.9", func(f benchFigures) float64 { return float64(f.P999) }},
	{"max", func(f benchFigures) float64 { return float64(f.Max) }},
}

func (c *benchConfig) result(targets []*benchTarget) benchResult {
	res := benchResult{Concurrency: c.concurrency, Workers: c.workers, Payload: c.payload, Rate: c.rate, Wire: c.wire.String()}
	for _, t := range targets {
		all := t.total()
		r := benchTargetResult{Name: t.name, Total: all.figures(), Histogram: all.bars(), Errors: all.errors}
		for _, round := range t.rounds {
			r.Rounds = append(r.Rounds, round.figures())
		}
		res.Targets = append(res.Targets, r)
	}
	if len(res.Targets) == 2 {
		res.Ratio = ratios(res.Targets[0].Rounds, res.Targets[1].Rounds)
	}
	return res
}

// ratios returns the median of what the rounds of b are to those of a.
func ratios(a, b []benchFigures) map[string]float64 {
	out := map[string]float64{}
	for _, col := range benchColumns {
		var each []float64
		for i := range min(len(a), len(b)) {
			if v := col.of(b[i]) / col.of(a[i]); !math.IsNaN(v) && !math.IsInf(v, 0) {
				each = append(each, v)
			}
		}
		if len(each) > 0 {
			out[col.name] = median(each)
		}
	}
	return out
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// report prints what was found.
func (c *benchConfig) report(targets []*benchTarget) error {
	res := c.result(targets)
	if c.json {
		enc := json.NewEncoder(c.out)
		enc.SetIndent("", "  ")
		return enc.Encode(res)
	}
	var b strings.Builder
	pace := "as fast as they go"
	if c.rate > 0 {
		pace = fmt.Sprintf("at %g calls/s, measured from when each was to begin", c.rate)
	}
	fmt.Fprintf(&b, "%d callers on %d workers, %d bytes, %s\n\n", c.concurrency, c.workers, c.payload, pace)
	benchTable(&b, res)
	for _, t := range res.Targets {
		benchHistogram(&b, t)
	}
	_, err := io.WriteString(c.out, b.String())
	return err
}

// benchTable prints a line for each target, and the ratio. With several rounds a line has their medians.
func benchTable(w io.Writer, res benchResult) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "target\tcalls\terrors\t")
	for _, col := range benchColumns {
		fmt.Fprint(tw, col.name, "\t")
	}
	fmt.Fprintln(tw)
	for _, t := range res.Targets {
		fmt.Fprintf(tw, "%s\t%d\t%d\t", t.Name, t.Total.Calls, t.Total.Errors)
		for i, col := range benchColumns {
			var each []float64
			for _, r := range t.Rounds {
				each = append(each, col.of(r))
			}
			if i == 0 {
				fmt.Fprintf(tw, "%.0f\t", median(each))
			} else {
				fmt.Fprintf(tw, "%v\t", shorten(time.Duration(median(each))))
			}
		}
		fmt.Fprintln(tw)
	}
	if res.Ratio != nil {
		fmt.Fprint(tw, "ratio\t\t\t")
		for _, col := range benchColumns {
			fmt.Fprintf(tw, "%.2f\t", res.Ratio[col.name])
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
	for _, t := range res.Targets {
		if n := t.Total.Unsent; n > 0 {
			fmt.Fprintf(w, "\n%s can't keep up: %d calls were due and never begun. The latencies don't have them.\n", t.Name, n)
		}
		texts := slices.SortedFunc(maps.Keys(t.Errors), func(a, b string) int { return cmp.Compare(t.Errors[b], t.Errors[a]) })
		for i, text := range texts {
			if i == 0 {
				fmt.Fprintf(w, "\n%s, errors:\n", t.Name)
			}
			if i < 5 {
				fmt.Fprintf(w, "%8d  %s\n", t.Errors[text], text)
			}
		}
	}
}

// benchHistogram prints how many calls took how long.
func benchHistogram(w io.Writer, t benchTargetResult) {
	const width = 50
	most := int64(1)
	for _, b := range t.Histogram {
		most = max(most, b.Calls)
	}
	fmt.Fprintf(w, "\n%s, how long the calls took\n", t.Name)
	for _, b := range t.Histogram {
		n := int(math.Ceil(float64(b.Calls) * width / float64(most)))
		to := "to " + shorten(b.To)
		fmt.Fprintf(w, "%s%s %10d %5.1f %% %s\n", strings.Repeat(" ", max(11-utf8.RuneCountInString(to), 0)), to, b.Calls,
			100*float64(b.Calls)/float64(max(t.Total.Calls, 1)), strings.Repeat("█", n))
	}
}

// shorten writes a time with three digits.
func shorten(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}
