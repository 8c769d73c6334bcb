package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/pool"
)

// line is a line of what top shows. It may be a worker's.
type line struct {
	text   string
	kind   lineKind
	worker workerKey // of a row
}

type lineKind int

const (
	plainLine lineKind = iota
	titleLine
	headLine // of the table
	rowLine
	busyLine // the row of a worker that does something
)

// String returns the text without trailing blanks.
func (l line) String() string { return strings.TrimRight(l.text, " ") }

// lines returns what top shows, in lines of the given width.
func (s *sample) lines(width int) []line {
	var out []line
	add := func(kind lineKind, format string, args ...any) {
		out = append(out, line{text: cut(fmt.Sprintf(format, args...), width), kind: kind})
	}
	add(titleLine, "app %d  %s  %s", s.Pid, s.Command, s.Time.Format(time.TimeOnly))
	for _, p := range s.pools {
		of := ""
		if p.Max > 0 {
			of = fmt.Sprintf("/%d", p.Max)
		}
		add(plainLine, "pool %s  workers %d%s, %d busy, %d connecting  queue %d", p.Name, p.Total, of, p.Total-p.Idle,
			p.Connecting, p.Waiting)
		add(plainLine, "     %s checkouts/s  wait %s  run %s", rate(p.checkouts), quantiles(p.wait), quantiles(p.run))
	}
	for _, server := range s.Servers {
		what := "server"
		if server.Reading.App == 0 {
			what = "serves"
		}
		add(plainLine, "%s %d  %s  up %s  %d workers", what, server.Reading.Server, server.Service, short(server.Uptime), len(server.Workers))
	}
	wide := columnsFor(width)
	add(headLine, "%s", columnText(wide, func(c column) string { return c.name }))
	for i := range s.rows {
		r := &s.rows[i]
		out = append(out, line{text: columnText(wide, func(c column) string { return c.of(r) }), kind: kindOf(r), worker: r.key()})
	}
	return out
}

func kindOf(r *row) lineKind {
	if r.State == scoreboard.Idle {
		return rowLine
	}
	return busyLine
}

// column is one of the table's. Those that are wide come only if there is room for all of them.
type column struct {
	name  string
	width int // negative: the text stands at its left
	wide  bool
	of    func(*row) string
}

var columns = []column{
	{"NR", 5, false, func(r *row) string { return fmt.Sprint(r.Number) }},
	{"PID", 8, false, func(r *row) string { return fmt.Sprint(r.Pid) }},
	{"SERVER", 8, true, func(r *row) string { return fmt.Sprint(r.server.Reading.Server) }},
	{"AGE", 7, true, func(r *row) string { return short(r.Age) }},
	{"STATE", -10, false, stateText},
	{"METHOD", 0, false, func(r *row) string { return r.Method }}, // has what the others leave
	{"FOR", 7, false, func(r *row) string { return orDash(r.For > 0, short(r.For)) }},
	{"CALLS/S", 8, false, func(r *row) string { return rate(r.calls) }},
	{"CALLS", 10, true, func(r *row) string { return fmt.Sprint(r.Calls) }},
	{"ERRORS", 7, false, func(r *row) string { return fmt.Sprint(r.Errors) }},
	{"IN", 7, true, func(r *row) string { return size(int64(r.BytesIn)) }},
	{"OUT", 7, true, func(r *row) string { return size(int64(r.BytesOut)) }},
	{"CPU%", 6, false, func(r *row) string { return orDash(r.cpu >= 0, fmt.Sprintf("%.1f", 100*r.cpu)) }},
	{"RSS", 7, false, func(r *row) string { return orDash(r.RSS >= 0, size(r.RSS)) }},
}

func stateText(r *row) string {
	if r.Owner == scoreboard.Nobody && r.State == scoreboard.Idle {
		return "standby"
	}
	return r.State.String()
}

const leastMethod = 12

// columnsFor picks the columns for a width, and gives METHOD what is left.
func columnsFor(width int) []column {
	for _, wide := range []bool{true, false} {
		var cs []column
		left, method := width, -1
		for _, c := range columns {
			if c.wide && !wide {
				continue
			}
			if c.width == 0 {
				method = len(cs)
			}
			left -= max(c.width, -c.width) + 1
			cs = append(cs, c)
		}
		if left >= 2*leastMethod || !wide {
			cs[method].width = -max(left, leastMethod)
			return cs
		}
	}
	return nil // not reached: the second time it returns
}

func columnText(cs []column, of func(column) string) string {
	var b strings.Builder
	for i, c := range cs {
		if i > 0 {
			b.WriteByte(' ')
		}
		text := cut(of(c), max(c.width, -c.width))
		fill := strings.Repeat(" ", max(c.width, -c.width)-uniseg.StringWidth(text))
		if c.width < 0 {
			b.WriteString(text + fill)
		} else {
			b.WriteString(fill + text)
		}
	}
	return b.String()
}

// cut cuts text to a width in a terminal, where some characters take two places.
func cut(s string, width int) string {
	if uniseg.StringWidth(s) <= width {
		return s
	}
	var b strings.Builder
	left := width - 1
	for g := uniseg.NewGraphemes(s); g.Next() && g.Width() <= left; left -= g.Width() {
		b.WriteString(g.Str())
	}
	return b.String() + "…"
}

func orDash(known bool, text string) string {
	if !known {
		return "-"
	}
	return text
}

func rate(perSecond float64) string {
	if perSecond >= 100 {
		return fmt.Sprintf("%.0f", perSecond)
	}
	return fmt.Sprintf("%.1f", perSecond)
}

// quantiles shows a histogram in short.
func quantiles(h pool.Histogram) string {
	if h.Count == 0 {
		return "p50 - p99 -"
	}
	return fmt.Sprintf("p50 %s p99 %s", short(h.Quantile(0.5)), short(h.Quantile(0.99)))
}

// short shows a duration in at most seven characters.
func short(d time.Duration) string {
	switch {
	case d <= 0:
		return "0"
	case d < time.Millisecond:
		return fmt.Sprintf("%.0fµs", float64(d)/float64(time.Microsecond))
	case d < time.Second:
		return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 100*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// size shows a number of bytes in at most six characters.
func size(n int64) string {
	f, unit := float64(n), 0
	for f >= 999.5 && unit < 5 {
		f /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%.1f%c", f, " KMGTP"[unit])
}
