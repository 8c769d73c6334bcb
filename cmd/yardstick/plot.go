package main

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// panel is a part of the plot: bars of one metric of a scenario.
type panel struct {
	scenario string
	title    string
	metric   metric
	unit     string
	// low is set where short bars are the good ones.
	low bool
}

var panels = []panel{
	{oneCaller, "One caller, one worker", rate, "calls/s", false},
	{eightCallers, "8 callers, 8 workers", rate, "calls/s", false},
	{manyCallers, "64 callers, 8 workers", rate, "calls/s", false},
	{everyTwo, "A call every 2 ms: median", p50, "µs", true},
	{echoName(16 << 20), "Echo of 16 MiB", throughput, "GiB/s", false},
	{coldStart, "A new worker's first reply", p50, "µs", true},
}

// Lengths in the plot, in pixels.
const (
	plotColumns = 2
	panelWidth  = 440
	labelWidth  = 190
	valueWidth  = 60
	barHeight   = 15
	rowHeight   = 20
	headHeight  = 46
	margin      = 20
	gap         = 24
)

// The plot has a ground of its own, so that it can be read wherever it is shown, and follows the reader's colour scheme.
const plotStyle = `
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #57606a; }
  .ground { fill: #ffffff; }
  .title { font-weight: 600; font-size: 13px; fill: #1f2328; }
  .note { font-size: 11px; }
  .name { text-anchor: end; }
  .bullpen { fill: #0969da; } .limit { fill: #c4cbd3; } .peer { fill: #8c959f; }
  text.ours { fill: #0969da; font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1; }
    .ground { fill: #0d1117; }
    .title { fill: #e6edf3; }
    .bullpen { fill: #4493f8; } .limit { fill: #3d444d; } .peer { fill: #656c76; }
    text.ours { fill: #4493f8; }
  }`

// plot draws the figures as an SVG. Panels without figures are left out.
func plot(r *results) string {
	kinds := map[string]kind{}
	for _, s := range (&plan{interpreters: map[string]interpreter{namePython: {}, nameNode: {}}}).scenarios() {
		for _, st := range s.steps {
			kinds[st.contender] = st.kind
		}
	}
	var drawn []drawing
	for _, p := range panels {
		if bars := p.bars(r, kinds); len(bars) > 0 {
			drawn = append(drawn, drawing{p, bars})
		}
	}
	var body strings.Builder
	y := margin
	for row := range slices.Chunk(drawn, plotColumns) {
		height := 0
		for i, d := range row {
			d.draw(&body, margin+i*(panelWidth+gap), y)
			height = max(height, d.height())
		}
		y += height + gap
	}
	width := 2*margin + plotColumns*panelWidth + (plotColumns-1)*gap
	height := y - gap + margin + 18
	fmt.Fprintf(&body, `<text class="note" x="%d" y="%d">Echo of a 5-byte string unless it says otherwise; medians, one run. Limit: a bare unix socket or fork, without encoding, deadlines, or a pool.</text>`+"\n", margin, height-margin+4)
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="bullpen beside the limits of the machine and its peers">
<style>%s
</style>
<rect class="ground" width="100%%" height="100%%" rx="6"/>
%s</svg>
`, width, height, width, height, plotStyle, body.String())
}

type bar struct {
	name  string
	kind  kind
	value float64
}

// bars returns the panel's bars, the best first.
func (p panel) bars(r *results, kinds map[string]kind) (all []bar) {
	for k, metrics := range r.rounds {
		if v := median(metrics[p.metric]); k.scenario == p.scenario && !math.IsNaN(v) {
			all = append(all, bar{k.contender, kinds[k.contender], v})
		}
	}
	slices.SortFunc(all, func(a, b bar) int {
		order := cmp.Compare(b.value, a.value)
		if p.low {
			order = -order
		}
		return cmp.Or(order, cmp.Compare(a.name, b.name))
	})
	return all
}

type drawing struct {
	panel panel
	bars  []bar
}

func (d drawing) height() int { return headHeight + len(d.bars)*rowHeight }

func (d drawing) draw(w *strings.Builder, x, y int) {
	note := "more is better"
	if d.panel.low {
		note = "less is better"
	}
	fmt.Fprintf(w, `<text class="title" x="%d" y="%d">%s</text>`+"\n", x, y+13, html.EscapeString(d.panel.title))
	fmt.Fprintf(w, `<text class="note" x="%d" y="%d">%s, %s</text>`+"\n", x, y+29, d.panel.unit, note)
	most := 0.0
	for _, b := range d.bars {
		most = max(most, b.value)
	}
	for i, b := range d.bars {
		top := y + headHeight - 8 + i*rowHeight
		length := b.value / most * (panelWidth - labelWidth - valueWidth)
		own := ""
		if b.kind == ours {
			own = " ours"
		}
		fmt.Fprintf(w, `<text class="name%s" x="%d" y="%d">%s</text>`, own, x+labelWidth-8, top+12, html.EscapeString(b.name))
		fmt.Fprintf(w, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, b.kind, x+labelWidth, top, max(length, 1), barHeight)
		fmt.Fprintf(w, `<text class="value%s" x="%.1f" y="%d">%s</text>`+"\n", own, float64(x+labelWidth)+max(length, 1)+6, top+12, figure(b.value))
	}
}
