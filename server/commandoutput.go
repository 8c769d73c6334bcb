package server

import (
	"errors"
	"os"
	"sync"
	"time"
)

// commandOutput is a command's standard output. A line may begin whenever it wants, and the limits of the call are for
// that; but one that has begun has to go on.
type commandOutput struct {
	*os.File
	mid     bool // a line has begun; for the reader alone
	untimed bool // timeouts are off

	mu   sync.Mutex // guards over, and the read deadline
	over bool       // the command has ended
}

// lineStalls is how long a line that has begun may stand still.
const lineStalls = 5 * time.Second

// commandDrain is how long an ended command's last words may take that are in the pipe already.
const commandDrain = 100 * time.Millisecond

// Read implements io.Reader. If a line stands still the error is errStopped.
func (o *commandOutput) Read(b []byte) (int, error) {
	if !o.mid || o.untimed {
		return o.File.Read(b)
	}
	for _, d := range []time.Duration{lineStalls, commandDrain} { // a last look, if it was this process that stood still
		if !o.limit(time.Now().Add(d)) {
			return o.File.Read(b)
		}
		n, err := o.File.Read(b)
		running := o.limit(time.Time{})
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if !running { // it ended just now, and may have said more
			return o.File.Read(b)
		}
	}
	return 0, errStopped
}

// limit sets the read deadline of a command that runs. It reports false if the command has ended.
func (o *commandOutput) limit(until time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.over {
		o.SetReadDeadline(until)
	}
	return !o.over
}

// end lets what the command has said at last be read, and no more: what it has started may hold the pipe open.
func (o *commandOutput) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
	o.SetReadDeadline(time.Now().Add(commandDrain))
}
