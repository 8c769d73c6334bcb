//go:build linux || darwin

package process

import "sync"

// OOM tells whether a child that SIGKILL ended was killed by the kernel for its memory: then the kernel's count of such
// kills has risen.
type OOM struct {
	mu    sync.Mutex // guards known
	known int64      // kills that were there before, or are accounted for
}

// NewOOM begins to count.
func NewOOM() *OOM { return &OOM{known: oomKills()} }

// Happened reports whether there was a kill that no earlier call has accounted for.
func (o *OOM) Happened() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if oomKills() <= o.known {
		return false
	}
	o.known++
	return true
}
