//go:build linux || darwin

package server

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/bullpen-go/bullpen/internal/process"
	"github.com/bullpen-go/bullpen/internal/role"
)

// watchChildren reaps what was adopted when it ends, and looks after workers that were stopped, until the supervisor is
// closed. The system says that something has happened to a child, but not reliably to which.
func (s *supervisor) watchChildren() {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGCHLD)
	defer signal.Stop(changed)
	stopped := &stopWatch{sup: s, timers: map[*child]*time.Timer{}}
	defer stopped.end()
	for {
		select {
		case <-changed:
			s.reap()
			stopped.look()
		case <-s.gone:
			return
		}
	}
}

// What a worker leaves behind when it ends, and its process group doesn't hold, comes to its server, which reaps it. In
// any other process than a server's own, children that nobody here has started are somebody else's.

// reap reaps the adopted processes that have ended. An ended worker that was not reaped yet hides the others: whoever
// reaps it calls reap again.
func (s *supervisor) reap() {
	if role.Current() == role.Server {
		process.ReapAdopted(s.own)
	}
}

// killLeft kills what the dead worker left behind outside of its process group.
func (s *supervisor) killLeft(number int) {
	if role.Current() == role.Server {
		process.KillAdopted(role.WorkerSetting(os.Getpid(), number))
	}
}
