package wire

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Exit tells how a worker ended.
type Exit struct {
	Pid    int `cbor:"1,keyasint,omitempty"` // 0 if it never started
	Number int `cbor:"2,keyasint,omitempty"` // as counted by its server, from 1
	// Code is the exit code, or -1 if a signal ended the worker.
	Code int `cbor:"3,keyasint"`
	// Signal is the number of the signal that ended it, or 0, and SignalName its name ("segmentation fault").
	Signal     int    `cbor:"4,keyasint,omitempty"`
	SignalName string `cbor:"5,keyasint,omitempty"`
	// Reason says why it ended.
	Reason ExitReason `cbor:"6,keyasint,omitempty"`
	// Detail adds to the reason: the error of a failed start, who had the worker killed.
	Detail string `cbor:"7,keyasint,omitempty"`
	// StderrHead and StderrTail are the first and the last 4 KiB of its standard error, StderrSkipped how many
	// bytes lie between them.
	StderrHead    []byte `cbor:"8,keyasint,omitempty"`
	StderrTail    []byte `cbor:"9,keyasint,omitempty"`
	StderrSkipped int64  `cbor:"10,keyasint,omitempty"`
	// Dump is the goroutine dump of a hung worker.
	Dump []byte `cbor:"11,keyasint,omitempty"`
	// UserTime, SystemTime and MaxRSS (in bytes) are what it used in its life, with the children it waited for.
	UserTime   time.Duration `cbor:"12,keyasint,omitempty"`
	SystemTime time.Duration `cbor:"13,keyasint,omitempty"`
	MaxRSS     int64         `cbor:"14,keyasint,omitempty"`
	// Logs are the records of the call that it died under.
	Logs *LogDefer `cbor:"15,keyasint,omitempty"`
	// Standby is true if the worker was set up before it got its connection.
	Standby bool `cbor:"16,keyasint,omitempty"`
}

// ExitReason is why a worker ended.
type ExitReason string

const (
	ExitUnknown     ExitReason = ""              // nobody could be asked
	ExitRetired     ExitReason = "retired"       // its client closed the connection, and it ended by itself
	ExitExited      ExitReason = "exited"        // it called os.Exit, or a library did
	ExitCrashed     ExitReason = "crashed"       // a signal that nobody sent, or the Go runtime's exit 2
	ExitKilled      ExitReason = "killed"        // by a signal from outside bullpen
	ExitHung        ExitReason = "hung"          // it exceeded HungTimeout
	ExitCanceled    ExitReason = "canceled"      // its client wanted it gone: timeout, abort, cancel without an end
	ExitShutdown    ExitReason = "shutdown"      // its server was closed
	ExitServerDied  ExitReason = "server died"   // and its workers with it
	ExitSetup       ExitReason = "setup failed"  // its Setup hook failed or took too long
	ExitOutOfMemory ExitReason = "out of memory" // the kernel killed it for its memory, as the count of its server's cgroup tells
	ExitNotStarted  ExitReason = "not started"   // the process could not be started
)

// String says in a few words how the worker ended.
func (e *Exit) String() string {
	var b strings.Builder
	switch {
	case e.Reason == ExitNotStarted:
		b.WriteString("could not be started")
	case e.Signal != 0:
		fmt.Fprintf(&b, "was ended by signal %d (%s)", e.Signal, e.SignalName)
	case e.Reason == ExitUnknown && e.Code < 0:
		b.WriteString("ended in an unknown way")
	default:
		fmt.Fprintf(&b, "ended with exit code %d", e.Code)
	}
	switch e.Reason {
	case ExitUnknown, ExitExited, ExitCrashed, ExitNotStarted:
	default:
		fmt.Fprintf(&b, ", %s", e.Reason)
	}
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	return b.String()
}

// Stderr returns what is kept of the worker's standard error, with a line that says what was left out.
func (e *Exit) Stderr() string {
	if e.StderrSkipped > 0 {
		return fmt.Sprintf("%s\n[… %d bytes …]\n%s", e.StderrHead, e.StderrSkipped, e.StderrTail)
	}
	return string(e.StderrHead) + string(e.StderrTail)
}

// Lifeline is what a dialer's connection can also be, if whoever gave it knows the worker behind it. A pool uses it
// where it finds it; a plain net.Conn works without.
//
// A Lifeline that also has NetConn() net.Conn promises that to read and write there is the same as to read and write on
// itself: a pool then writes a large call there, in one go. One that counts, delays or changes what passes has none.
type Lifeline interface {
	// Kill ends the worker now, for the reason that detail gives.
	Kill(detail string)
	// Exit waits for the worker's end and tells how it ended. It returns nil when ctx ends first or nobody knows. With
	// a ctx that has ended it tells what is known.
	Exit(ctx context.Context) *Exit
	// OnRetire has f called once, from another goroutine, when the worker has ended or is wanted back. It returns a
	// function that takes f back.
	OnRetire(f func()) (stop func())
}

// Headline returns the line of Stderr with which a crash of Go's begins, or else its first line, shortened to some 200
// bytes. It is empty if the worker printed nothing there.
func (e *Exit) Headline() string {
	text := strings.TrimSpace(e.Stderr())
	line, _, _ := strings.Cut(text, "\n")
	for l := range strings.Lines(text) {
		if crashLine(l) {
			line = strings.TrimSpace(l)
			break
		}
	}
	if len(line) > 200 {
		line = strings.ToValidUTF8(line[:200], "") + "…"
	}
	return line
}

// crashLine reports whether a crash of Go's begins with such a line.
func crashLine(line string) bool {
	for _, mark := range []string{"panic: ", "fatal error: ", "runtime: ", "SIG"} {
		if strings.HasPrefix(line, mark) {
			return true
		}
	}
	return false
}
