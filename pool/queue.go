package pool

import (
	"sync"
	"time"
)

// queue holds those who wait for a worker, in order of arrival. Every operation takes the same time, however many
// wait. The pool's mu guards it.
//
// Those whose time is over in the order of their arrival, as it is with equal timeouts, share one timer: they are in a
// second list, and the timer is set for its first or earlier. The others have a timer each.
type queue struct {
	first, last *waiter
	n           int
	waiting     *int64 // n, for others to see

	timedFirst, timedLast *waiter
	timer                 *time.Timer
	expire                func()  // called when the first deadline may have passed
	armed                 instant // when the timer will fire; 0 if it won't
}

// waiter is somebody who waits.
type waiter struct {
	prev, next *waiter
	queued     bool
	ready      chan grant // gets one value, unless the waiter leaves the queue by itself

	timedPrev, timedNext *waiter
	timed                bool
	start, deadline      instant     // no deadline: 0
	timer                *time.Timer // nil until it has needed one of its own
	own                  bool        // it waits by its own timer
}

// grant ends a wait.
type grant struct {
	worker *worker
	err    error
	late   bool // the wait's time was over
}

var waiters = sync.Pool{New: func() any { return &waiter{ready: make(chan grant, 1)} }}

// disorder is how much earlier a wait may be over than the one before it, and still share the timer: goroutines don't
// come in the order in which they have read the clock. It ends that much too late then.
const disorder = instant(time.Millisecond)

// push appends a new waiter, which waits since start.
func (q *queue) push(start, deadline instant) *waiter {
	w := waiters.Get().(*waiter)
	w.start, w.deadline, w.own = start, deadline, false
	w.prev, w.queued = q.last, true
	if q.last != nil {
		q.last.next = w
	} else {
		q.first = w
	}
	q.last = w
	q.n++
	*q.waiting++
	switch {
	case deadline == 0:
	case q.timedLast != nil && deadline+disorder < q.timedLast.deadline:
		w.arm()
	default:
		q.pushTimed(w)
		q.arm()
	}
	return w
}

func (q *queue) pushTimed(w *waiter) {
	w.timedPrev, w.timed = q.timedLast, true
	if q.timedLast != nil {
		w.deadline = max(w.deadline, q.timedLast.deadline)
		q.timedLast.timedNext = w
	} else {
		q.timedFirst = w
	}
	q.timedLast = w
}

// arm has expire called when the first deadline has passed, if there is one. A timer that fires too early does no harm, and
// is left.
func (q *queue) arm() {
	if q.timedFirst == nil {
		return
	}
	first := q.timedFirst.deadline
	if q.armed != 0 && q.armed <= first {
		return
	}
	q.armed = first
	d := max(first.since(now()), 0)
	if q.timer == nil {
		q.timer = time.AfterFunc(d, q.expire)
		return
	}
	q.timer.Reset(d)
}

// expired takes out the first of those whose deadline has passed and that have no timer of their own, or returns nil.
func (q *queue) expired(now instant) *waiter {
	w := q.timedFirst
	if w == nil || now < w.deadline {
		return nil
	}
	q.remove(w)
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
	*q.waiting--
	if w.timed {
		q.removeTimed(w)
	}
	return true
}

func (q *queue) removeTimed(w *waiter) {
	if w.timedPrev != nil {
		w.timedPrev.timedNext = w.timedNext
	} else {
		q.timedFirst = w.timedNext
	}
	if w.timedNext != nil {
		w.timedNext.timedPrev = w.timedPrev
	} else {
		q.timedLast = w.timedPrev
	}
	w.timedPrev, w.timedNext, w.timed = nil, nil, false
}

// arm gives the waiter a timer of its own.
func (w *waiter) arm() {
	d := max(w.deadline.since(now()), 0)
	w.own = true
	if w.timer == nil {
		w.timer = time.NewTimer(d)
		return
	}
	w.timer.Reset(d)
}

// recycle gives a waiter back that is in no queue and whose grant was taken.
func (w *waiter) recycle() {
	if w.own {
		w.timer.Stop() // since Go 1.23 nothing stale is left in its channel
	}
	waiters.Put(w)
}
