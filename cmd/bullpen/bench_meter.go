package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// benchMeter shows, once a second, how far a run is: on a terminal in one line that changes, elsewhere in lines.
type benchMeter struct {
	w        io.Writer
	terminal bool
	start    time.Time
	all      time.Duration
	what     atomic.Pointer[string]
	calls    atomic.Int64
	errors   atomic.Int64
	quit     chan struct{}
	done     chan struct{}
	once     sync.Once // closes quit
}

func newBenchMeter(w io.Writer, all time.Duration) *benchMeter {
	m := &benchMeter{w: w, start: time.Now(), all: all, quit: make(chan struct{}), done: make(chan struct{})}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		m.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	m.begin("warm-up")
	go m.run()
	return m
}

// begin says what is measured now.
func (m *benchMeter) begin(what string) { m.what.Store(&what) }

// count counts a call. A nil meter counts nothing.
func (m *benchMeter) count(err error) {
	switch {
	case m == nil:
	case err != nil:
		m.errors.Add(1)
	default:
		m.calls.Add(1)
	}
}

func (m *benchMeter) run() {
	defer close(m.done)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := int64(0); ; {
		select {
		case <-m.quit:
			if m.terminal {
				fmt.Fprint(m.w, "\r\033[K")
			}
			return
		case <-tick.C:
		}
		n := m.calls.Load()
		text := fmt.Sprintf("%3.0f s of %.0f s  %s  %d calls/s", time.Since(m.start).Seconds(), m.all.Seconds(), *m.what.Load(), n-last)
		last = n
		if e := m.errors.Load(); e > 0 {
			text += fmt.Sprintf("  %d errors", e)
		}
		if m.terminal {
			fmt.Fprint(m.w, "\r", text, "\033[K")
		} else {
			fmt.Fprintln(m.w, text)
		}
	}
}

// stop ends the meter, and takes its line away. A second one does nothing.
func (m *benchMeter) stop() {
	m.once.Do(func() { close(m.quit) })
	<-m.done
}
