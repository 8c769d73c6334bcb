//go:build linux || darwin

package server

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/wire"
)

// hungWatch ends workers whose call, hook or setup takes too long. It looks at the scoreboard when the first of them
// may be over its limit, and while no worker does anything it sleeps: the next call wakes it.
type hungWatch struct {
	sup   *supervisor
	wakes chan struct{}
	quit  chan struct{}
	done  chan struct{}
	once  sync.Once
}

const (
	dumpShare = 5               // of the limit is left for the goroutine dump, before the kill: 1/5,
	dumpMax   = 2 * time.Second // and no more than this
)

func newHungWatch(s *supervisor) *hungWatch {
	h := &hungWatch{sup: s, wakes: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	if s.limits.HungTimeout <= 0 && s.limits.SetupTimeout <= 0 {
		close(h.done)
		return h
	}
	go h.run()
	return h
}

// wake says that a worker has begun to do something.
func (h *hungWatch) wake() {
	select {
	case h.wakes <- struct{}{}:
	default:
	}
}

func (h *hungWatch) stop() {
	h.once.Do(func() { close(h.quit) })
	<-h.done
}

func (h *hungWatch) run() {
	defer close(h.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var tick <-chan time.Time
		if next, busy := h.look(); busy || !h.sleep() {
			timer.Reset(next)
			tick = timer.C
		}
		select {
		case <-tick:
		case <-h.wakes:
			h.ask(false)
		case <-h.quit:
			return
		}
	}
}

// sleep has the next worker that begins something wake the watch. It fails if one has begun already.
func (h *hungWatch) sleep() bool {
	h.ask(true)
	for _, w := range h.sup.all() {
		if w.slot.Busy() {
			h.ask(false)
			return false
		}
	}
	return true
}

func (h *hungWatch) ask(on bool) {
	for _, w := range h.sup.all() {
		w.slot.Watch(on)
	}
}

// look ends what is over its limit, and returns when it has to look again. It is not busy if no worker does anything.
func (h *hungWatch) look() (next time.Duration, busy bool) {
	now := scoreboard.Now()
	next = h.shortest()
	for _, w := range h.sup.all() {
		if !w.slot.Busy() {
			continue
		}
		busy = true
		f := w.slot.Read()
		limit := h.limit(f.State)
		if limit <= 0 {
			continue
		}
		left := limit - time.Duration(now-min(f.Since, now))
		if left <= 0 {
			h.end(w, limit)
			left = limit
		}
		next = min(next, left)
	}
	return max(next, time.Millisecond), busy
}

// shortest returns how soon something that begins now can be over its limit.
func (h *hungWatch) shortest() time.Duration {
	d := time.Duration(math.MaxInt64)
	for _, s := range []scoreboard.State{scoreboard.Running, scoreboard.SettingUp} {
		if l := h.limit(s); l > 0 {
			d = min(d, l)
		}
	}
	return d
}

// limit returns how long a worker may be in the state; 0 is for ever.
func (h *hungWatch) limit(s scoreboard.State) time.Duration {
	switch s {
	case scoreboard.Running, scoreboard.Hook:
		return h.sup.limits.HungTimeout
	case scoreboard.Starting, scoreboard.SettingUp: // the worker itself reports a late setup before
		return h.sup.limits.SetupTimeout * 5 / 4
	}
	return 0
}

// end ends a hung worker: SIGQUIT has the Go runtime print all goroutines and exit, and what that doesn't end, a
// stopped process or a blocked signal, SIGKILL does.
func (h *hungWatch) end(w *child, limit time.Duration) {
	switch f := w.slot.Read(); f.State {
	case scoreboard.Starting, scoreboard.SettingUp:
		w.note(wire.ExitSetup, fmt.Sprintf("it was not set up after %v", limit))
	default:
		w.note(wire.ExitHung, fmt.Sprintf("%q ran longer than HungTimeout (%v)", f.Method, limit))
	}
	if !w.dumping.CompareAndSwap(false, true) {
		return // it is being ended
	}
	w.stderr.StartDump()
	w.proc.Quit()
	time.AfterFunc(min(limit/dumpShare, dumpMax), w.proc.Kill)
}
