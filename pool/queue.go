package pool

import (
	"sync"
	"time"
)

// queue holds those who wait for a worker, in order of arrival. Every operation takes the same time, however many
// wait. The pool's mu guards it.
//
// Those whose time is over in the order of their arrival, as it is with equal timeouts, share one timer, which is set for the
// first of them or earlier. The others have a timer each, or none.
type queue struct {
	first, last *waiter
	n           int
	waiting     *int64 // n, for others to see

	sharing  int     // how many share the timer
	from     *waiter // who shares it is here or later; moves past each waiter once at most
	deadline instant // of the last of them; of no meaning if there are none
	timer    *time.Timer
	expire   func()  // called when the first deadline may have passed
	armed    instant // when the timer will fire; 0 if it won't
}

// waiter is somebody who waits. It fits into a cache line, which comes from another core when somebody is handed a worker.
type waiter struct {
	prev, next      *waiter    // prev means nothing in the first one
	ready           chan grant // gets one value, unless the waiter leaves the queue by itself
	start, deadline instant    // no deadline: 0
	queued          bool
	shares          bool        // the queue's timer
	own             bool        // it waits by its own timer
	timer           *time.Timer // its own; nil until it has needed one
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
	if q.from == nil {
		q.from = w
	}
	switch {
	case deadline == 0:
	case q.sharing > 0 && deadline+disorder < q.deadline:
		w.arm()
	default:
		q.share(w)
	}
	return w
}

// share has w wait by the timer of all.
func (q *queue) share(w *waiter) {
	if q.sharing > 0 {
		w.deadline = max(w.deadline, q.deadline)
	}
	q.deadline = w.deadline
	q.sharing++
	w.shares = true
	q.arm(w.deadline)
}

// arm has expire called at the given time, or before. A timer that fires too early does no harm, and is left.
func (q *queue) arm(at instant) {
	if q.armed != 0 && q.armed <= at {
		return
	}
	q.armed = at
	d := max(at.since(now()), 0)
	if q.timer == nil {
		q.timer = time.AfterFunc(d, q.expire)
		return
	}
	q.timer.Reset(d)
}

// due returns the first of those who share the timer, or nil.
func (q *queue) due() *waiter {
	for q.from != nil && !q.from.shares {
		q.from = q.from.next
	}
	return q.from
}

// rearm sets the timer, which has fired, for the first who shares it.
func (q *queue) rearm() {
	q.armed = 0
	if w := q.due(); w != nil {
		q.arm(w.deadline)
	}
}

// expired takes out the first of those who share the timer, if its deadline has passed, or returns nil.
func (q *queue) expired(now instant) *waiter {
	w := q.due()
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
	if q.from == w {
		q.from = w.next
	}
	if w == q.first { // mostly; it doesn't touch the next one
		q.first = w.next
	} else {
		w.prev.next = w.next
		if w.next != nil {
			w.next.prev = w.prev
		}
	}
	switch {
	case q.first == nil:
		q.last = nil
	case w == q.last:
		q.last = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.n--
	*q.waiting--
	if w.shares {
		w.shares = false
		q.sharing--
	}
	return true
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
