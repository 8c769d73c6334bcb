package poolhttp

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"github.com/bullpen-go/bullpen/pool"
)

// The plots are drawn in a box of this size, which the page stretches. Text stands beside it, so that it is not stretched.
const plotWidth, plotHeight = 1000, 100

// queuePlot shows how many were waiting.
func queuePlot(p PoolReport) template.HTML {
	top := 1
	for _, m := range p.History {
		top = max(top, m.Waiting)
	}
	line := trace(p.History, func(m Moment) float64 { return float64(m.Waiting) / float64(top) })
	area := ""
	if line != "" {
		first, last := x(p.History, 0), x(p.History, len(p.History)-1)
		area = fmt.Sprintf(`<path class="area" d="%s L%.1f %d L%.1f %d Z"/>`, line, last, plotHeight, first, plotHeight)
	}
	return overTime("Queue", p.History, fmt.Sprint(top), area+stroke("wait", line), `<span class="key wait"><span>waiting</span></span>`)
}

// latencyPlot shows waits and runs on one logarithmic scale.
func latencyPlot(p PoolReport) template.HTML {
	low, high := time.Duration(math.MaxInt64), time.Duration(0)
	for _, m := range p.History {
		for _, d := range []time.Duration{m.Wait, m.Run} {
			if d > 0 {
				low, high = min(low, d), max(high, d)
			}
		}
	}
	if high == 0 {
		low, high = time.Microsecond, time.Millisecond
	}
	bottom := math.Floor(math.Log10(float64(low)))
	span := math.Max(math.Ceil(math.Log10(float64(high)))-bottom, 1)
	scale := func(d time.Duration) float64 {
		if d <= 0 {
			return 0
		}
		return (math.Log10(float64(d)) - bottom) / span
	}
	text := fmt.Sprintf("%s at the top, %s at the bottom", short(time.Duration(math.Pow(10, bottom+span))), short(time.Duration(math.Pow(10, bottom))))
	return overTime("Latency", p.History, text,
		stroke("wait", trace(p.History, func(m Moment) float64 { return scale(m.Wait) }))+
			stroke("run", trace(p.History, func(m Moment) float64 { return scale(m.Run) })),
		`<span><span class="key wait"><span>wait</span></span> &nbsp; <span class="key run"><span>run</span></span></span>`)
}

// overTime puts a plot of the history into its frame.
func overTime(label string, history []Moment, top, svg, key string) template.HTML {
	if len(history) < 2 {
		return frame(label, "", `<div class="none">Drawn as long as somebody looks; the first points come within seconds.</div>`, key, "")
	}
	ago := history[len(history)-1].Time.Sub(history[0].Time)
	return frame(label, svg, `<span class="top">`+top+`</span>`, key, fmt.Sprintf("the last %s", short(ago.Round(time.Second))))
}

func frame(label, svg, over, key, caption string) template.HTML {
	return template.HTML(fmt.Sprintf(`<div class="plot"><svg viewBox="0 0 %d %d" preserveAspectRatio="none" role="img" aria-label="%s">%s</svg>%s</div>`+
		`<figcaption>%s<span>%s</span></figcaption>`, plotWidth, plotHeight, label, svg, over, key, caption))
}

func stroke(class, line string) string {
	if line == "" {
		return ""
	}
	return fmt.Sprintf(`<path class="%s" d="%s"/>`, class, line)
}

// trace draws a value from 0 to 1 over the history.
func trace(history []Moment, of func(Moment) float64) string {
	var b strings.Builder
	if len(history) < 2 {
		return ""
	}
	for i, m := range history {
		letter := "L"
		if i == 0 {
			letter = "M"
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", letter, x(history, i), plotHeight-2-(plotHeight-16)*min(max(of(m), 0), 1))
	}
	return b.String()
}

// x is where the i-th point of the history lies.
func x(history []Moment, i int) float64 {
	first := history[0].Time
	all := history[len(history)-1].Time.Sub(first)
	if all <= 0 {
		return 0
	}
	return plotWidth * float64(history[i].Time.Sub(first)) / float64(all)
}

// histogramPlot shows how long waits and runs were since the pool's start: a pair of bars for each bucket that has any, or
// lies between some.
func histogramPlot(p PoolReport) template.HTML {
	const label = "Histogram of latencies"
	from, to, most := len(p.runs.Buckets), -1, int64(0)
	for i := range p.runs.Buckets {
		w, r := bucket(p.waits, i), bucket(p.runs, i)
		if w+r > 0 {
			from, to, most = min(from, i), i, max(most, w, r)
		}
	}
	key := `<span><span class="key wait"><span>waits</span></span> &nbsp; <span class="key run"><span>runs</span></span></span>`
	if to < 0 {
		return frame(label, "", `<div class="none">No calls yet.</div>`, key, "")
	}
	var b strings.Builder
	step := plotWidth / float64(max(to-from+1, 12))
	for i := from; i <= to; i++ {
		for j, h := range []pool.Histogram{p.waits, p.runs} {
			if n := bucket(h, i); n > 0 {
				height := 1.5 + (plotHeight-18)*math.Sqrt(float64(n)/float64(most)) // a root, so that few are seen beside many
				fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, []string{"wait", "run"}[j],
					step*(float64(i-from)+0.08+0.42*float64(j)), plotHeight-height, step*0.42, height)
			}
		}
	}
	return frame(label, b.String(), fmt.Sprintf(`<span class="top">%d</span>`, most), key,
		fmt.Sprintf("up to %s … %s", short(p.runs.Buckets[from].Bound), short(p.runs.Buckets[max(to, min(from+11, len(p.runs.Buckets)-2))].Bound)))
}

func bucket(h pool.Histogram, i int) int64 {
	if i >= len(h.Buckets) {
		return 0
	}
	return h.Buckets[i].Count
}
