package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// table is text in columns. The first column is set left, the others right.
type table struct {
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer) {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				line.WriteString("  " + cell + space)
			} else {
				line.WriteString("  " + space + cell)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// writeScenario prints a scenario's table: medians over the rounds, and what bullpen's are when each row's is 1.
func writeScenario(w io.Writer, s scenario, r *results) {
	t := &table{}
	t.add(s.head()...)
	var problems []string
	for _, st := range s.steps {
		k := key{s.name, st.contender}
		if err := r.failed[k]; err != nil {
			problems = append(problems, fmt.Sprintf("%s: %s", st.contender, firstLine(err)))
		}
		if len(r.rounds[k]) > 0 {
			t.add(s.row(st, r)...)
		}
	}
	if len(t.rows) == 1 && len(problems) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", s.title)
	t.write(w)
	for _, p := range problems {
		fmt.Fprintf(w, "  failed: %s\n", p)
	}
}

// head returns the headings of a scenario's columns.
func (s scenario) head() []string {
	cells := []string{""}
	for _, m := range s.metrics {
		cells = append(cells, string(m))
	}
	if !s.plain {
		cells = append(cells, "bullpen ÷ it")
	}
	return cells
}

// row returns the cells of one contender.
func (s scenario) row(st step, r *results) []string {
	k := key{s.name, st.contender}
	cells := []string{st.contender}
	for _, m := range s.metrics {
		cells = append(cells, figure(median(r.of(k, m))))
	}
	if !s.plain {
		rival := cmp.Or(st.rival, s.first)
		cells = append(cells, ratioFigure(r.ratio(key{s.name, rival}, k, s.metrics[0])))
	}
	return cells
}

// writeGoals prints what issue 4 asks for and what was reached.
func writeGoals(w io.Writer, verdicts []verdict) {
	if len(verdicts) == 0 {
		return
	}
	t := &table{}
	t.add("", "measured", "goal", "")
	met := 0
	for _, v := range verdicts {
		word := "NOT met"
		if v.met() {
			word = "met"
			met++
		}
		t.add(v.goal.what, ratioFigure(v.measured), v.goal.bound(), word)
	}
	fmt.Fprintf(w, "\nGoals: %d of %d met\n", met, len(verdicts))
	t.write(w)
}

// writeReport prints all tables.
func writeReport(w io.Writer, all []scenario, r *results) {
	for _, s := range all {
		writeScenario(w, s, r)
	}
	writeGoals(w, judgeAll(r))
}

// figure formats a number to three digits, with commas.
func figure(x float64) string {
	switch {
	case math.IsNaN(x):
		return "–"
	case x < 0:
		return "-" + figure(-x)
	case x >= 100:
		return commas(strconv.FormatFloat(roundTo(x, 3), 'f', 0, 64))
	case x >= 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case x >= 1:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
	return strconv.FormatFloat(x, 'f', 3, 64)
}

// ratioFigure formats a ratio to two digits after the point.
func ratioFigure(x float64) string {
	if math.IsNaN(x) {
		return "–"
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}

// roundTo rounds x to that many significant digits.
func roundTo(x float64, digits int) float64 {
	if x == 0 {
		return 0
	}
	unit := math.Pow(10, math.Ceil(math.Log10(math.Abs(x)))-float64(digits))
	return math.Round(x/unit) * unit
}

// commas puts a comma between each three digits.
func commas(digits string) string {
	var groups []string
	for len(digits) > 3 {
		groups = append(groups, digits[len(digits)-3:])
		digits = digits[:len(digits)-3]
	}
	groups = append(groups, digits)
	slices.Reverse(groups)
	return strings.Join(groups, ",")
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
