//go:build linux || darwin

package process

import (
	"sync"
	"time"
)

// OOM tells whether a child that SIGKILL ended was killed by the kernel for its memory: then the kernel's count of such
// kills has risen. The count of this process's own cgroup says most. Where there is only that of the whole system, a
// rise may be another program's, so that much has to speak for it. When in doubt, it was not the kernel.
type OOM struct {
	read func() kills

	mu     sync.Mutex // guards all below
	group  string     // whose count it was, at the last look
	known  int64      // kills that were there before, or are accounted for
	seen   int64      // kills at the first look that found more than the known ones
	seenAt time.Time  // when that was; zero: there are no more
}

// kills are how many processes the kernel has killed for memory.
type kills struct {
	n      int64
	group  string // the cgroup that they were in; "" is the whole system
	memory int64  // of the system, in bytes
}

const (
	// claimWithin is how soon after its kill a worker's end has been noticed. A kill that no worker's end has claimed by
	// then was another process's in the same cgroup.
	claimWithin = 2 * time.Second
	// plausibleShare of the system's memory is what a worker has taken at least that is killed when the system has no
	// more: 1/20.
	plausibleShare = 20
)

// NewOOM begins to count.
func NewOOM() *OOM { return newOOM(oomKills) }

func newOOM(read func() kills) *OOM {
	o := &OOM{read: read}
	o.Started()
	return o
}

// Started notes the kills that a child which was just started can't be among.
func (o *OOM) Started() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if k := o.look(time.Now()); k.group == "" {
		o.known = k.n
	}
}

// Happened reports whether there was a kill that no earlier call has accounted for, and that a child which has taken
// maxRSS bytes can have been the victim of.
func (o *OOM) Happened(maxRSS int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.look(time.Now())
	if k.n <= o.known {
		return false
	}
	if k.group == "" {
		o.known = k.n
		return maxRSS >= k.memory/plausibleShare
	}
	o.known++
	return true
}

// look reads the count, and forgets what nobody has claimed. The caller holds mu.
func (o *OOM) look(now time.Time) kills {
	k := o.read()
	if k.group != o.group {
		o.group, o.known, o.seenAt = k.group, k.n, time.Time{}
		return k
	}
	if !o.seenAt.IsZero() && now.Sub(o.seenAt) > claimWithin {
		o.known, o.seenAt = max(o.known, o.seen), time.Time{}
	}
	if k.n > o.known && o.seenAt.IsZero() {
		o.seen, o.seenAt = k.n, now
	}
	return k
}
