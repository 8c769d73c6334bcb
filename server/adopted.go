//go:build linux || darwin

package server

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/bullpen-go/bullpen/internal/process"
	"github.com/bullpen-go/bullpen/internal/role"
)

// What a worker leaves behind when it ends, and its process group doesn't hold, comes to its server, which reaps it. In
// any other process than a server's own, children that nobody here has started are somebody else's.

// reapSignals returns a channel that gets a value when children have ended, or nil where they are not ours to reap.
func reapSignals() chan os.Signal {
	if role.Current() != role.Server {
		return nil
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	return ended
}

// reapOn reaps what was adopted when it ends, until the supervisor is closed.
func (s *supervisor) reapOn(ended chan os.Signal) {
	if ended == nil {
		return
	}
	defer signal.Stop(ended)
	for {
		select {
		case <-ended:
			s.reap()
		case <-s.gone:
			return
		}
	}
}

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
