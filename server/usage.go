package server

import (
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// meter measures what a call takes, for a client that has asked for it.
type meter struct {
	wanted bool
	pid    int // of the command that does the work; 0: this process does it
	before time.Duration
}

// meter begins to measure the call, if its client wants that.
func (w *worker) meter(m *wire.Message) (u meter) {
	if u.wanted, _ = m.Meta[wire.MetaCost].(bool); !u.wanted {
		return u
	}
	if w.relay != nil && w.relay.proc != nil {
		u.pid = w.relay.proc.proc.Pid
	}
	u.before = cpuTime(u.pid)
	return u
}

// meta adds what was measured to a reply's meta.
func (u *meter) meta(meta map[string]any) map[string]any {
	if meta == nil {
		meta = map[string]any{}
	}
	meta[wire.MetaCost] = map[string]any{"cpu": int64(cpuTime(u.pid) - u.before), "rss": peakRSS(u.pid)}
	return meta
}
