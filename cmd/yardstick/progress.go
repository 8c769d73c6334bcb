package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// meter shows how far a run is: on a terminal in one line that changes, elsewhere in a line for each measurement.
type meter struct {
	w        io.Writer
	terminal bool
	start    time.Time
	rounds   int
	total    int
	finished int
	what     string
	width    int // of what stands in the line
}

func newMeter(w io.Writer, all []scenario, rounds int) *meter {
	m := &meter{w: w, start: time.Now(), rounds: rounds}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		m.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	for _, s := range all {
		n := rounds
		if s.rounds > 0 {
			n = min(n, s.rounds)
		}
		m.total += n * len(s.steps)
	}
	return m
}

func (m *meter) begin(round int, s scenario, st step) {
	m.what = fmt.Sprintf("[%d/%d] round %d of %d: %s/%s", m.finished+1, m.total, round+1, m.rounds, s.name, st.contender)
	if m.terminal {
		m.show(m.what + m.left())
	}
}

func (m *meter) end(s scenario, v values, err error) {
	m.finished++
	switch {
	case err != nil:
		m.line(m.what + ": " + firstLine(err))
	case !m.terminal:
		m.line(fmt.Sprintf("%s: %s %s", m.what, figure(v[s.metrics[0]]), s.metrics[0]))
	}
}

// done clears the line.
func (m *meter) done() {
	if m.terminal {
		m.show("")
		fmt.Fprint(m.w, "\r")
	}
}

// left estimates how long the rest takes.
func (m *meter) left() string {
	if m.finished == 0 {
		return ""
	}
	each := time.Since(m.start) / time.Duration(m.finished)
	return fmt.Sprintf(", about %v left", (each * time.Duration(m.total-m.finished)).Round(time.Second))
}

// show replaces what stands in the line.
func (m *meter) show(text string) {
	fmt.Fprintf(m.w, "\r%s%s", text, strings.Repeat(" ", max(m.width-len(text), 0)))
	m.width = len(text)
}

// line prints a line that stays.
func (m *meter) line(text string) {
	if m.terminal {
		m.show("")
		fmt.Fprint(m.w, "\r")
	}
	fmt.Fprintln(m.w, text)
}
