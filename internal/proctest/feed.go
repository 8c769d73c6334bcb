package proctest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// Feed collects what arrives. Any number of goroutines may use it.
type Feed[T any] struct {
	mu   sync.Mutex // guards all below
	all  []T
	more chan struct{} // closed by the next Add
}

// NewFeed returns an empty feed.
func NewFeed[T any]() *Feed[T] { return &Feed[T]{more: make(chan struct{})} }

// Add adds a value.
func (f *Feed[T]) Add(v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, v)
	close(f.more)
	f.more = make(chan struct{})
}

// List returns what has arrived so far, in order.
func (f *Feed[T]) List() []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]T(nil), f.all...)
}

// Wait waits for the first of which ok is true. If none comes in time, the test fails and says what did not come.
func (f *Feed[T]) Wait(t testing.TB, what string, ok func(T) bool) T {
	t.Helper()
	late := time.After(Patience)
	for {
		f.mu.Lock()
		all, more := f.all, f.more
		f.mu.Unlock()
		for _, v := range all {
			if ok(v) {
				return v
			}
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("it did not come: %s, among %d: %.2000s", what, len(all), fmt.Sprint(all))
		}
	}
}

// Lines is a feed of lines.
type Lines struct{ *Feed[string] }

// NewLines returns one without lines.
func NewLines() Lines { return Lines{NewFeed[string]()} }

// Says waits for a line with that beginning, and returns the rest of it.
func (l Lines) Says(t testing.TB, begin string) string {
	t.Helper()
	line := l.Wait(t, begin, func(s string) bool { return strings.HasPrefix(s, begin) })
	return strings.TrimSpace(line[len(begin):])
}
