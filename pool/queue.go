package pool

import (
	"sync"
	"time"
)

// queue holds those who wait for a worker, in order of arrival. Every operation takes the same time, however many
// wait. The pool's mu guards it.
type queue struct {
	first, last *waiter
	n           int
}

// waiter is somebody who waits.
type waiter struct {
	prev, next *waiter
	queued     bool
	ready      chan grant // gets one value, unless the waiter leaves the queue by itself
	timer      *time.Timer
}

// grant ends a wait.
type grant struct {
	worker *worker
	err    error
}

var waiters = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &waiter{ready: make(chan grant, 1), timer: t}
}}

// push appends a new waiter.
func (q *queue) push() *waiter {
	w := waiters.Get().(*waiter)
	w.prev, w.queued = q.last, true
	if q.last != nil {
		q.last.next = w
	} else {
		q.first = w
	}
	q.last = w
	q.n++
	return w
}

// pop takes the first waiter out, or returns nil.
func (q *queue) pop() *waiter {
	w := q.first
	if w != nil {
		q.remove(w)
	}
	return w
}

// remove takes w out. It reports whether w was still in.
func (q *queue) remove(w *waiter) bool {
	if !w.queued {
		return false
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.last = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.n--
	return true
}

// arm sets the waiter's timer.
func (w *waiter) arm(d time.Duration) { w.timer.Reset(max(d, 0)) }

// recycle gives a waiter back that is in no queue and whose grant was taken.
func (w *waiter) recycle() {
	w.timer.Stop() // since Go 1.23 nothing stale is left in its channel
	waiters.Put(w)
}
