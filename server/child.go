//go:build linux || darwin

package server

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/internal/notimeouts"
	"github.com/bullpen-go/bullpen/internal/process"
	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/internal/tail"
	"github.com/bullpen-go/bullpen/wire"
)

// child is a worker as its server sees it.
type child struct {
	sup    *supervisor
	number int
	proc   *process.Process
	link   *control.Conn
	slot   *scoreboard.Slot
	slotNo int

	output  sync.WaitGroup // the readers of stdout and stderr
	pipes   [2]*os.File    // their ends
	stderr  tail.Buffer
	shot    atomic.Bool   // this process has killed it
	dumping atomic.Bool   // what comes on stderr is a goroutine dump
	linked  chan struct{} // closed when the link's reader has returned
	// unwanted: somebody wanted this standby to be retired before it was ready. The supervisor's mu guards it.
	unwanted bool
	over     chan struct{} // closed when the worker was reaped

	mu     sync.Mutex // guards all below
	conn   *connection
	ready  bool // Setup has run
	warm   bool // it was ready when it got its connection
	took   bool // it has acknowledged the connection
	taking *time.Timer
	reason wire.ExitReason // why it ends, once that is known
	detail string
	ended  *control.CommandEnd // of a worker that works for a command, once that has ended
	dead   bool
}

// take makes w the worker of c.
func (w *child) take(c *connection) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil || w.dead {
		return false
	}
	w.conn, w.warm = c, w.ready
	w.sup.board.SetOwner(w.slotNo, w.number, c.owner())
	return true
}

// claimed notes that somebody uses the connection that the worker got ahead. A worker that doesn't say that it has heard of it
// is stopped, or stuck.
func (w *child) claimed(c *connection) {
	w.sup.board.SetOwner(w.slotNo, w.number, c.owner())
	w.link.Send(control.WorkerClaim, nil)
	w.handed()
}

// handed is called when a worker that was ready has been sent its connection.
func (w *child) handed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.took && !w.dead {
		w.awaitTake()
	}
}

// A worker that waits for a connection takes it at once, unless it was stopped, or is stuck: then nobody would notice, as
// it does nothing. After takeWithin it gets a second chance, because it may have been this process that was stopped.
const (
	takeWithin   = 2 * time.Second
	secondChance = 500 * time.Millisecond
)

// awaitTake ends the worker if it doesn't take the connection that it was given. The caller holds mu.
func (w *child) awaitTake() {
	if w.sup.limits.CancelGrace == notimeouts.Forever { // it may stand in a debugger
		return
	}
	again := false
	w.taking = time.AfterFunc(takeWithin, func() {
		w.mu.Lock()
		overdue := w.conn != nil && !w.took && !w.dead
		if overdue && !again {
			again, overdue = true, false
			w.taking.Reset(secondChance)
		}
		w.mu.Unlock()
		if overdue {
			w.kill(wire.ExitHung, fmt.Sprintf("it did not take its connection within %v", takeWithin))
		}
	})
}

// untake takes c back from w. It fails if w is dead: pass has c then.
func (w *child) untake(c *connection) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return false
	}
	w.conn = nil
	w.sup.board.SetOwner(w.slotNo, w.number, scoreboard.Nobody)
	return true
}

// note remembers why the worker ends. The first reason counts.
func (w *child) note(reason wire.ExitReason, detail string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reason == "" {
		w.reason, w.detail = reason, detail
	}
}

// kill kills the worker and what it has started.
func (w *child) kill(reason wire.ExitReason, detail string) {
	w.note(reason, detail)
	w.shot.Store(true)
	w.proc.Kill()
}

// cancel asks the worker to end: its handler's context ends now.
func (w *child) cancel() {
	w.note(wire.ExitShutdown, "")
	w.link.Send(control.WorkerCancel, nil)
}
