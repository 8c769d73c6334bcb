//go:build linux || darwin

package server

import (
	"context"
	"os"
	"time"

	"github.com/bullpen-go/bullpen/internal/process"
	"github.com/bullpen-go/bullpen/internal/role"
	"github.com/bullpen-go/bullpen/wire"
)

// checkIdle tells who waits for the last worker's end. The caller holds mu.
func (s *supervisor) checkIdle() {
	if s.idle != nil && len(s.workers)+s.spawning+s.ending == 0 {
		close(s.idle)
		s.idle = nil
	}
}

// drain waits until clients have released all workers, or ctx ends.
func (s *supervisor) drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	standby := s.standby
	s.standby = nil
	s.mu.Unlock()
	for _, w := range standby {
		w.kill(wire.ExitShutdown, "")
	}
	select {
	case <-s.empty():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// empty returns a channel that is closed when there are no workers.
func (s *supervisor) empty() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.checkIdle()
	return idle
}

const dieWithin = 2 * time.Second // after SIGKILL; what takes longer is in uninterruptible sleep

// close ends all workers and returns the pids of those that would not die. The ladder: cancel, grace, kill, report.
func (s *supervisor) close() (survivors []int) {
	s.mu.Lock()
	first := !s.closing
	s.draining, s.closing = true, true
	s.mu.Unlock()
	if !first {
		<-s.gone
		return nil
	}
	defer close(s.gone)
	for _, w := range s.all() {
		go w.cancel() // sending to a worker that doesn't read can block
	}
	if !s.emptyWithin(s.limits.CancelGrace) {
		s.killAll()
		if !s.emptyWithin(dieWithin) {
			for _, w := range s.all() {
				survivors = append(survivors, w.proc.Pid)
			}
		}
	}
	s.hung.stop()
	s.hold.Close()
	s.child.Close()
	s.null.Close()
	s.board.Close()
	return survivors
}

func (s *supervisor) emptyWithin(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.empty():
		return true
	case <-t.C:
		return false
	}
}

func (s *supervisor) killAll() {
	for _, w := range s.all() {
		w.kill(wire.ExitShutdown, "")
	}
}

// killRest kills what the workers of a dedicated server left behind outside of their process groups.
func (s *supervisor) killRest() {
	if role.Current() == role.Server {
		process.KillMarked(role.ServerSetting(os.Getpid()))
	}
}
