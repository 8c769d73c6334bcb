//go:build linux || darwin

package server

import (
	"bytes"
	"syscall"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/internal/process"
	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/wire"
)

// exit tells how the worker ended.
func (w *child) exit(st process.State) *wire.Exit {
	if c := w.commandEnd(); c != nil {
		st.Code, st.Signal = c.Code, syscall.Signal(c.Signal)
	}
	e := &wire.Exit{Pid: w.proc.Pid, Number: w.number, Code: st.Code, UserTime: st.User, SystemTime: st.System, MaxRSS: st.MaxRSS}
	if st.Signal != 0 {
		e.Signal, e.SignalName = int(st.Signal), st.Signal.String()
	}
	e.StderrHead, e.StderrTail, e.StderrSkipped, e.Dump = w.stderr.Ends()
	w.mu.Lock()
	e.Reason, e.Detail, e.Standby = w.reason, w.detail, w.warm
	w.mu.Unlock()
	wanted := e.Reason == wire.ExitCanceled || e.Reason == wire.ExitShutdown
	if wanted && st.Code != 0 && (st.Signal != syscall.SIGKILL || !w.shot.Load()) { // it died of something else before
		e.Reason, e.Detail = "", ""
	}
	if e.Reason == "" {
		e.Reason = guessReason(e, st.Signal)
		if st.Signal == syscall.SIGKILL && w.sup.oom.Happened(st.MaxRSS) {
			e.Reason = wire.ExitOutOfMemory
		}
	}
	if scoreboard.State(w.slot.Read().State) == scoreboard.Running {
		e.Logs = lastLogs(w.slot)
	}
	return e
}

// commandEnd returns how the worker's command ended, or nil if there is none or it was ended with the worker.
func (w *child) commandEnd() *control.CommandEnd {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

// guessReason tells why a worker ended of which nobody said why.
func guessReason(e *wire.Exit, sig syscall.Signal) wire.ExitReason {
	switch sig {
	case 0:
	case syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGABRT, syscall.SIGTRAP, syscall.SIGSYS:
		return wire.ExitCrashed
	default:
		return wire.ExitKilled
	}
	if e.Code == 2 { // the Go runtime's own end
		for _, mark := range []string{"fatal error: runtime: out of memory", "fatal error: runtime: cannot allocate memory"} {
			if bytes.Contains(e.StderrHead, []byte(mark)) || bytes.Contains(e.StderrTail, []byte(mark)) { // Limits.MaxMemory
				return wire.ExitOutOfMemory
			}
		}
		for _, mark := range []string{"panic: ", "fatal error: ", "runtime: ", "SIGSEGV", "SIGABRT"} {
			if bytes.Contains(e.StderrHead, []byte(mark)) || bytes.Contains(e.StderrTail, []byte(mark)) {
				return wire.ExitCrashed
			}
		}
	}
	return wire.ExitExited
}

// lastLogs returns the records of the call that the worker died under. They come from a process that may have been
// hostile: what can't be decoded is left out.
func lastLogs(slot *scoreboard.Slot) *wire.LogDefer {
	var all *wire.LogDefer
	for _, rec := range slot.Log() {
		var v any
		if wire.Unmarshal(rec, &v) != nil {
			continue
		}
		d, err := wire.ParseLogDefer(v)
		if err != nil {
			continue
		}
		if all == nil {
			all = d
			continue
		}
		all.Logs = append(all.Logs, d.Logs...)
	}
	return all
}

// logEnd logs the end: an expected one at debug level, a failure with its cause at error level.
func (s *supervisor) logEnd(w *child, e *wire.Exit) {
	args := []any{"service", s.srv.Service.name, "pid", e.Pid, "worker", e.Number, "how", e.String()}
	switch e.Reason {
	case wire.ExitRetired, wire.ExitShutdown, wire.ExitCanceled, wire.ExitSetup:
		s.logger.Debug("worker ended", args...)
	default:
		if line := e.Headline(); line != "" {
			args = append(args, "stderr", line)
		}
		s.logger.Error("worker ended", args...)
	}
}
