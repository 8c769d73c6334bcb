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
	for i := len(s.list) - 1; i >= 0 && s.list[i].noticed.After(from); i-- {
		begin, end := s.list[i].due, s.list[i].noticed
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		sum += max(0, end.Sub(begin))
	}
	return sum
}
