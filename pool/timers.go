package pool

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/wire"
)

// replayTimer logs a time that a handler has measured. One that never ended has no duration.
func replayTimer(t wire.LogTimer, pid int, to hclog.Logger) {
	args := make([]any, 0, 6)
	if pid != 0 { // the JSON wire doesn't tell
		args = append(args, "pid", pid)
	}
	args = append(args, "name", t.Name)
	if t.To != 0 {
		args = append(args, "took", time.Duration((t.To-t.From)*float64(time.Second)))
	}
	to.Debug("timer", args...)
}
