package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/uniseg"

	"github.com/bullpen-go/bullpen/internal/observe"
)

// screen is top in a terminal.
//
// States: looking ⇄ asking (k or r was pressed: y does it, any other key does not). Either ends with q, with Ctrl-C, and when the
// app has ended.
type screen struct {
	tcell.Screen
	sample   *sample
	selected workerKey // the worker under the cursor; another one once it has ended
	at       int       // the cursor's place among the workers
	top      int       // the first worker that is shown, if there are more than fit
	question string    // asked, or ""
	action   func() error
	message  string // of the last action
}

// runScreen shows the app until q is pressed, ctx ends, or the app does, which is the error then.
func runScreen(ctx context.Context, first *sample, interval time.Duration) error {
	ts, err := tcell.NewScreen()
	if err != nil {
		return fmt.Errorf("%w: is this a terminal? Use --once", err)
	}
	if err := ts.Init(); err != nil {
		return fmt.Errorf("%w: is this a terminal? Use --once", err)
	}
	defer ts.Fini()
	s := &screen{Screen: ts, sample: first}
	events, quit := make(chan tcell.Event), make(chan struct{})
	go ts.ChannelEvents(events, quit)
	defer close(quit)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		s.draw()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a, err := observe.Look(first.Pid)
			if err != nil {
				return err
			}
			s.sample = newSample(s.sample, a)
		case e := <-events:
			switch e := e.(type) {
			case *tcell.EventResize:
				ts.Sync()
			case *tcell.EventKey:
				if s.press(e) {
					return nil
				}
			}
		}
	}
}

// press does what a key is for. It reports whether that is the end.
func (s *screen) press(e *tcell.EventKey) (quit bool) {
	key, r := e.Key(), e.Rune()
	if key == tcell.KeyCtrlC || s.question == "" && (r == 'q' || key == tcell.KeyEscape) {
		return true
	}
	if s.question != "" {
		if r == 'y' {
			s.act()
		}
		s.question = ""
		return false
	}
	s.message = ""
	_, height := s.Size()
	switch {
	case key == tcell.KeyUp:
		s.move(-1)
	case key == tcell.KeyDown:
		s.move(1)
	case key == tcell.KeyPgUp:
		s.move(-height / 2)
	case key == tcell.KeyPgDn:
		s.move(height / 2)
	case r == 'k':
		s.ask("kill", "killed", func(r *row) error { return r.server.Kill(r.Worker) })
	case r == 'r':
		s.ask("retire", "told to retire", func(r *row) error { return r.server.Retire(r.Worker) })
	}
	return false
}

// ask asks whether something is to be done to the selected worker.
func (s *screen) ask(what, done string, do func(*row) error) {
	s.find()
	if len(s.sample.rows) == 0 {
		return
	}
	r := s.sample.rows[s.at]
	s.question = fmt.Sprintf("%s worker %d, pid %d? y/n", what, r.Number, r.Pid)
	s.action = func() error {
		err := do(&r)
		if err == nil {
			s.message = fmt.Sprintf("worker %d, pid %d, was %s", r.Number, r.Pid, done)
		}
		return err
	}
}

func (s *screen) act() {
	if err := s.action(); err != nil {
		s.message = err.Error()
	}
}

func (s *screen) move(by int) {
	s.find()
	if n := len(s.sample.rows); n > 0 {
		s.at = min(max(s.at+by, 0), n-1)
		s.selected = s.sample.rows[s.at].key()
	}
}

// find puts the cursor where the selected worker is now. If it has ended, the one in its place is selected.
func (s *screen) find() {
	rows := s.sample.rows
	for i := range rows {
		if rows[i].key() == s.selected {
			s.at = i
			return
		}
	}
	if len(rows) > 0 {
		s.at = min(s.at, len(rows)-1)
		s.selected = rows[s.at].key()
	}
}

var lineStyles = map[lineKind]tcell.Style{
	plainLine: tcell.StyleDefault,
	titleLine: tcell.StyleDefault.Bold(true),
	headLine:  tcell.StyleDefault.Reverse(true),
	rowLine:   tcell.StyleDefault.Dim(true),
	busyLine:  tcell.StyleDefault,
}

// draw draws it all: what is above the table, as much of the table as fits, and the line of the keys.
func (s *screen) draw() {
	width, height := s.Size()
	s.Clear()
	s.find()
	lines := s.sample.lines(width)
	above := len(lines) - len(s.sample.rows)
	room := max(height-above-1, 1)
	s.top = min(max(s.top, s.at-room+1), s.at, max(len(s.sample.rows)-room, 0))
	y := 0
	for i, l := range lines {
		if i >= above && (i < above+s.top || i >= above+s.top+room) {
			continue
		}
		style := lineStyles[l.kind]
		if i >= above && l.worker == s.selected {
			style = tcell.StyleDefault.Background(tcell.ColorNavy).Foreground(tcell.ColorWhite)
		}
		s.put(y, width, l.text, style)
		y++
	}
	foot, style := "↑↓ select  k kill  r retire  q quit", tcell.StyleDefault.Dim(true)
	if s.message != "" {
		foot, style = s.message, tcell.StyleDefault.Foreground(tcell.ColorYellow)
	}
	if s.question != "" {
		foot, style = s.question, tcell.StyleDefault.Foreground(tcell.ColorRed).Bold(true)
	}
	if hidden := len(s.sample.rows) - room; hidden > 0 {
		foot += fmt.Sprintf("  (%d more)", hidden)
	}
	s.put(height-1, width, cut(foot, width), style)
	s.Show()
}

// put writes a line of the screen, over its whole width.
func (s *screen) put(y, width int, text string, style tcell.Style) {
	x := 0
	for g := uniseg.NewGraphemes(text); g.Next(); x += g.Width() {
		s.SetContent(x, y, g.Runes()[0], g.Runes()[1:], style)
	}
	for ; x < width; x++ {
		s.SetContent(x, y, ' ', nil, style)
	}
}
