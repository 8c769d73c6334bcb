//go:build linux || darwin

package pool_test

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/server"
)

// records is a logger's memory.
type records struct {
	hclog.Logger
	mu  sync.Mutex // guards all
	all []record
}

type record struct {
	level hclog.Level
	text  string
	args  map[string]any
}

func newRecords() *records {
	r := &records{}
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Off})
	l.RegisterSink(r)
	r.Logger = l
	return r
}

// Accept implements hclog.SinkAdapter.
func (r *records) Accept(_ string, level hclog.Level, text string, args ...any) {
	rec := record{level, text, map[string]any{}}
	for i := 0; i+1 < len(args); i += 2 {
		rec.args[fmt.Sprint(args[i])] = args[i+1]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, rec)
}

func (r *records) get() []record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]record(nil), r.all...)
}

func (r *records) has(text string) bool {
	for _, rec := range r.get() {
		if strings.Contains(rec.text+fmt.Sprint(rec.args), text) {
			return true
		}
	}
	return false
}

// events is what a server has told.
type events struct {
	mu   sync.Mutex // guards all below
	all  []server.Event
	more chan struct{} // closed by the next one
}

func newEvents() *events { return &events{more: make(chan struct{})} }

func (e *events) on(ev server.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
	close(e.more)
	e.more = make(chan struct{})
}

func (e *events) get() ([]server.Event, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]server.Event(nil), e.all...), e.more
}

// wait waits until there were n events of a type, and returns all events.
func (e *events) wait(t testing.TB, typ server.EventType, n int) []server.Event {
	t.Helper()
	for {
		all, more := e.get()
		count := 0
		for _, ev := range all {
			if ev.Type == typ {
				count++
			}
		}
		if count >= n {
			return all
		}
		recv(t, more)
	}
}
