//go:build linux || darwin

package server

import (
	"fmt"
	"time"

	"github.com/bullpen-go/bullpen/internal/process"
	"github.com/bullpen-go/bullpen/wire"
)

// stopWatch ends workers that somebody has stopped, and not continued within HungTimeout, also if they have nothing to
// do: a stopped worker doesn't see its client go. The system tells when a child stops or goes on, so nothing is looked at
// without a cause. One goroutine uses it.
type stopWatch struct {
	sup    *supervisor
	timers map[*child]*time.Timer // of the workers that are stopped
}

// look is called when a child has stopped, gone on or ended.
func (v *stopWatch) look() {
	limit := v.sup.limits.HungTimeout
	if limit <= 0 || len(v.timers) == 0 && !process.AnyStopped() {
		return
	}
	for w, t := range v.timers {
		if !w.proc.Stopped() {
			t.Stop()
			delete(v.timers, w)
		}
	}
	for _, w := range v.sup.all() {
		if v.timers[w] == nil && w.proc.Stopped() {
			v.timers[w] = time.AfterFunc(limit, func() {
				if w.proc.Stopped() && !w.slot.Calling() { // the hung watch ends one that runs a call
					w.kill(wire.ExitHung, fmt.Sprintf("it was stopped by a signal for HungTimeout (%v)", limit))
				}
			})
		}
	}
}

// end forgets all.
func (v *stopWatch) end() {
	for _, t := range v.timers {
		t.Stop()
	}
}
