//go:build linux || darwin

package server

import (
	"errors"
	"io"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/wire"
)

// readLink obeys what the worker says.
func (w *child) readLink() {
	defer close(w.linked)
	for {
		m, err := w.link.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) { // something it said may be lost, such as that it has the connection
				w.hasTaken()
			}
			return
		}
		switch m.Type {
		case control.WorkerReady:
			w.isReady()
		case control.WorkerFailed:
			var e wire.SetupError
			if m.Decode(&e) == nil {
				w.setupFailed(&e)
			}
		case control.WorkerTook:
			w.hasTaken()
		case control.WorkerLog:
			var rec control.Log
			if m.Decode(&rec) == nil {
				w.logged(rec)
			}
		case control.WorkerWake:
			w.sup.hung.wake()
		case control.WorkerEnding:
			var e control.Ending
			if m.Decode(&e) == nil {
				w.noteEnding(e)
			}
		}
	}
}

// logged passes on what a hook has logged.
func (w *child) logged(rec control.Log) {
	args := []any{"service", w.sup.srv.Service.name, "pid", w.proc.Pid, "worker", w.number}
	for _, a := range rec.Args {
		args = append(args, a)
	}
	w.sup.logger.Log(hclog.Level(rec.Level), strings.ToValidUTF8(rec.Message, "\uFFFD"), args...)
}

// isReady makes a worker without a connection a standby.
func (w *child) isReady() {
	s := w.sup
	w.mu.Lock()
	if w.ready || w.dead {
		w.mu.Unlock()
		return
	}
	w.ready = true
	if w.reason == wire.ExitSetup { // it was tried again
		w.reason, w.detail = "", ""
	}
	conn := w.conn
	spare, ahead := conn == nil, conn != nil && conn.ahead()
	switch {
	case spare || w.took:
	case ahead:
		w.warm = true
	default:
		w.awaitTake()
	}
	w.mu.Unlock()
	draining, unwanted := false, false
	if spare {
		s.mu.Lock()
		s.spare--
		draining, unwanted = s.draining, w.unwanted
		if !draining && !unwanted {
			s.standby = append(s.standby, w)
		}
		s.mu.Unlock()
	}
	if ahead {
		conn.File.Close() // the worker has it
		conn.warm()
	}
	s.event(WorkerReady, w, nil) // from here on it can be had
	switch {
	case draining:
		w.kill(wire.ExitShutdown, "")
	case unwanted:
		w.kill(wire.ExitRetired, unwantedText)
	}
}

// setupFailed ends a standby whose Setup failed. A worker with a connection tells its client first, and ends itself.
func (w *child) setupFailed(e *wire.SetupError) {
	w.mu.Lock()
	spare := w.conn == nil || w.conn.ahead()
	w.mu.Unlock()
	w.sup.logger.Warn("a worker's setup failed", "service", w.sup.srv.Service.name, "pid", w.proc.Pid, "worker", w.number, "error", e.Message)
	w.note(wire.ExitSetup, e.Message)
	if spare {
		w.proc.Kill()
	}
}

// hasTaken closes our copy of the connection: while it is open, the client can't see its worker die.
func (w *child) hasTaken() {
	s := w.sup
	s.mu.Lock()
	s.backoff.succeed()
	s.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took = true
	if w.taking != nil {
		w.taking.Stop()
	}
	if w.conn != nil {
		w.conn.File.Close()
	}
}

// noteEnding remembers what the worker says about its end.
func (w *child) noteEnding(e control.Ending) {
	w.note(e.Reason, e.Detail)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = e.Command
}
