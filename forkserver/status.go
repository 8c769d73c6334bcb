package forkserver

import (
	"fmt"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// Status is what a server and its workers do at one moment; see Process.Status. As JSON, times are in nanoseconds.
type Status struct {
	Service string         `json:"service"`
	Server  int            `json:"server"`  // the pid of the server process
	Uptime  time.Duration  `json:"uptime"`  // of this server process
	Workers []WorkerStatus `json:"workers"` // in the order of their numbers; none is an empty slice
}

// WorkerStatus is what a worker does. Number, Pid, Age and Standby are the server's word, and CPU and RSS the system's. The
// rest is what the worker itself has written into memory that it shares with its readers: it is bounded, and text is printable,
// but a worker whose memory is spoiled may show anything in it.
type WorkerStatus struct {
	Number  int           `json:"number"`  // counted by its server, from 1
	Pid     int           `json:"pid"`     //
	Age     time.Duration `json:"age"`     // of the process
	Standby bool          `json:"standby"` // it has no client yet

	State WorkerState `json:"state"`
	// Method is the one that runs, cut to 128 bytes, or "CheckoutDone" for the hook; "" in other states. What isn't printable
	// is shown as question marks.
	Method string `json:"method,omitempty"`
	// For is how long it has been in this state: for Running, the age of the call. 0 for Idle.
	For time.Duration `json:"for,omitempty"`

	Calls     uint64 `json:"calls"`     // that have ended
	Errors    uint64 `json:"errors"`    // calls among them whose handler returned an error
	Checkouts uint64 `json:"checkouts"` // that have ended and were told to the worker: those of services with CheckoutDone
	BytesIn   uint64 `json:"bytes_in"`  // of its connection, up to the last call that has ended
	BytesOut  uint64 `json:"bytes_out"` //

	// CPU is the processor time that the process has used, in steps of 10 ms, and RSS its resident memory in bytes. Both are
	// -1 where the system doesn't tell: on macOS, and of a process that has just ended.
	CPU time.Duration `json:"cpu"`
	RSS int64         `json:"rss"`
}

// WorkerState is what a worker does, in a word.
type WorkerState string

const (
	Starting  WorkerState = "starting"
	SettingUp WorkerState = "setting up" // Hooks.Setup runs
	Idle      WorkerState = "idle"       // it waits for a call
	Running   WorkerState = "running"    // a handler runs
	Hook      WorkerState = "hook"       // Hooks.CheckoutDone runs
	Unknown   WorkerState = "unknown"    // the worker shows something else
)

// Status returns what the server and its workers do now. It reads memory that they share with this process, and wakes none of
// them: it works while they are stopped, too, and costs some microseconds a worker.
//
// While there is no server, because it has died and a new one is on its way, after Close and after the server was given up,
// the error wraps wire.ErrServerGone. After Restart it is the new server's; workers of the old one are not in it. On systems
// without server processes the error wraps errors.ErrUnsupported. A server has a place for 16384 workers at a time; Status
// doesn't show those beyond.
func (p *Process) Status() (*Status, error) {
	p.mu.Lock()
	in, err := p.cur, p.err
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if in == nil {
		return nil, fmt.Errorf("bullpen: status of %q: there is no server now: %w", p.svc.Name(), wire.ErrServerGone)
	}
	s, err := in.status()
	if err != nil {
		return nil, fmt.Errorf("bullpen: status of %q: %w", p.svc.Name(), err)
	}
	return s, nil
}
