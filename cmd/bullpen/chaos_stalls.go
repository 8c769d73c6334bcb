//go:build linux

package main

import (
	"sync"
	"time"
)

// chaosStalls knows when this process wanted to run and did not: a busy machine gives it no processor for a while, and
// nothing that it does can be in time then. What a call's end is late for this reason is not the call's fault.
type chaosStalls struct {
	mu   sync.Mutex // guards all below
	list []chaosStall
	due  time.Time // of the timer that runs; it may be noticed late
	most time.Duration
}

// chaosStall is the time from when a timer was due to when it was noticed.
type chaosStall struct{ due, noticed time.Time }

const (
	chaosTick      = 5 * time.Millisecond
	chaosRemembers = time.Minute
)

// watch looks for stalls until quit is closed.
func (s *chaosStalls) watch(quit <-chan struct{}) {
	t := time.NewTimer(chaosTick)
	defer t.Stop()
	for {
		due := time.Now().Add(chaosTick)
		s.mu.Lock()
		s.due = due
		s.mu.Unlock()
		t.Reset(chaosTick)
		select {
		case <-t.C:
		case <-quit:
			return
		}
		if now := time.Now(); now.Sub(due) > time.Millisecond {
			s.add(chaosStall{due, now})
		}
	}
}

func (s *chaosStalls) add(x chaosStall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most = max(s.most, x.noticed.Sub(x.due))
	s.list = append(s.list, x)
	old := 0
	for x.noticed.Sub(s.list[old].noticed) > chaosRemembers {
		old++
	}
	if old > len(s.list)/2 {
		s.list = append(s.list[:0:0], s.list[old:]...)
	}
}

// within returns how long this process was stalled in a span of time.
func (s *chaosStalls) within(from, to time.Time) (sum time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.due.IsZero() && s.due.Before(to) {
		sum = to.Sub(chaosLater(s.due, from))
	}
	for i := len(s.list) - 1; i >= 0 && s.list[i].noticed.After(from); i-- {
		sum += max(0, chaosEarlier(s.list[i].noticed, to).Sub(chaosLater(s.list[i].due, from)))
	}
	return sum
}

func chaosLater(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
