package lane

import (
	"runtime"
	"sync/atomic"
	"time"
)

// Looking for bytes instead of sleeping saves two system calls and the wake-up, 20 µs, and costs a core. It is worth that
// only while the peer is quick, and while there is a core to spare. The app decides for both sides, before each call:
//
//   - Nobody looks unless the averages of the time that a call is served and of the gap until the next one are both below quick.
//   - With few callers, of whom each can have a core and its worker one too, both look in a loop with a pause instruction, for
//     twice the average that they wait for, and a little more if the peer must first be woken. They keep the core: somebody who
//     wants it may keep it for milliseconds, and who sleeps instead gets it back at once when it is woken.
//   - With more callers a side that looks takes the core from the one that it waits for. So it gives the core away and looks
//     whenever it gets it back: the app to other goroutines, and now and then to other processes, the worker to these. Only the
//     time counts in which nobody wanted the core: while somebody does, who gives it away costs nothing, and sleeping costs
//     two system calls and a bell.
//   - When lookMisses looks in a row were in vain, nobody looks for some calls: for firstRest, and for twice as many each time up
//     to lastRest, until a look hits.
//   - A core that was given away may come back late, because somebody has it who has nothing to do with this: a reply is there by
//     then, but would have come sooner to one that slept. When replies are too late on average, nobody looks for many calls.
//
// Within a large message the peer is known to be at work, so for the next quarter of the ring either side looks for as long as
// it takes to copy one, and to wake and be woken, and offers its core meanwhile: a garbage collection may want it, whose app or
// worker doesn't go on before. If it gets the core back later than gaveMuch it may have been the peer who had it, and two that
// share a core take turns at filling and emptying the ring for milliseconds: the system moves nobody who is awake. So this side
// sleeps when it has to wait the next time, and may be woken on another core. And what stands in the ring when the app has
// written a large message is read before it is answered.
const (
	quick      = int64(30 * time.Microsecond)
	slow       = 2 * quick // a longer time counts as this, so that what is usual decides
	averageOf  = 8
	slack      = int64(5 * time.Microsecond)
	wakeUp     = int64(40 * time.Microsecond)
	appYield   = int64(50 * time.Microsecond)
	workLook   = int64(20 * time.Microsecond)  // and no less, because an interrupt on the app's core takes longer than a gap
	maxLook    = int64(100 * time.Microsecond) // whatever an app says, while the core is kept or nobody wants it,
	maxGiving  = int64(time.Millisecond)       // and in all, however long others want it
	gaveNobody = int64(2 * time.Microsecond)   // a core that is back sooner was wanted by nobody, or for next to nothing
	gaveMuch   = int64(20 * time.Microsecond)  // a core that is back later was taken by somebody who had much to do
	maxRead    = int64(300 * time.Microsecond) // for the peer to read the rest of a large message
	lookMisses = 3
	firstRest  = 8
	lastRest   = 64

	tooLate       = int64(500 * time.Microsecond) // many workers that share few cores are late as well, but less
	lateAverageOf = 4
	firstLongRest = 128
	lastLongRest  = 4096

	yieldFlag = 1 << 31 // in the word look; the rest of it is ns
	lookGrain = 1 << 13 // that figure's, so that the word rarely changes

	bytesPerNs = 4 // that are copied, or more
)

// look is what an end knows of when to look. It belongs to the goroutine that reads, and to Begin and Served; one that writes
// reads yield.
type look struct {
	now   func() int64
	net   *Network       // of an app; nil for a worker
	word  *atomic.Uint32 // the app's
	app   bool
	cores int
	yield bool

	served, gap int64 // averages in ns
	begun       int64 // when the call began
	replied     int64 // when the last one was answered
	seen        int64 // when this call's answer had not yet come; 0 if nobody has looked at the clock
	budget      int64 // for this call's answer; 0 once it is used
	expected    bool  // the look was allowed by budget, and is to be learned from
	told        uint32

	late int64 // average in ns, of replies to calls for which both sides looked

	misses   int // in a row
	resting  int // calls to go
	rest     int // how many there will be the next time
	longRest int // and if it is for being late
	counts   counts
}

// found is what the looks for bytes, or those for room, have found out in the present call.
type found struct {
	shared bool  // somebody else had the core while it was offered: it may have been the peer
	aside  int64 // for how many ns they stood aside for the network: how late the reply is says nothing of that
}

// Counters tell how a lane was used.
type Counters struct {
	Hits   uint64 // looks that have found what they looked for
	Misses uint64 // looks in vain
	Bells  uint64 // rung by this end
}

// counts are Counters that anybody may look at, and only the reader changes.
type counts struct{ hits, misses atomic.Uint64 }

func count(n *atomic.Uint64) { n.Store(n.Load() + 1) }

func (l *look) init(now func() int64, word *atomic.Uint32, net *Network) {
	l.now, l.word, l.app, l.net = now, word, net != nil, net
	l.cores = min(runtime.NumCPU(), runtime.GOMAXPROCS(0))
	l.served, l.gap, l.rest, l.longRest = slow, slow, firstRest, firstLongRest
	if l.yield = l.cores < 2; l.yield && l.app {
		l.told = yieldFlag
		word.Store(l.told)
	}
}

// Begin tells the app's end that a call begins, before it is written. now is the time by the end's clock, and callers is how many
// calls and checkouts the whole pool has in use. No Read and no Write may be running. It does nothing on the worker's end.
func (e *End) Begin(now int64, callers int) {
	l := &e.look
	if !l.app {
		return
	}
	e.mark = e.out.tail
	l.gap += (min(max(now-l.replied, 0), slow) - l.gap) / averageOf
	l.begun, l.seen, l.budget = now, 0, 0
	e.in.found, e.out.found = found{}, found{}
	l.yield = 2*callers > l.cores
	var tell int64
	switch {
	case l.resting > 0:
		l.resting--
	case l.served >= quick || l.gap >= quick:
	case l.yield:
		l.budget, tell = appYield, workLook
	default:
		l.budget = 2*l.served + slack
		tell = (max(2*l.gap+slack, workLook) + lookGrain - 1) &^ (lookGrain - 1)
	}
	word := uint32(tell)
	if l.yield {
		word |= yieldFlag
	}
	if word != l.told {
		l.told = word
		l.word.Store(word)
	}
	runtime.KeepAlive(e)
}

// Served tells the app's end that the reply to the call that Begin has begun was read. run is how long the worker says that it
// has served the call. It does nothing on the worker's end.
func (e *End) Served(run time.Duration) {
	l := &e.look
	if !l.app {
		return
	}
	r := min(max(int64(run), 0), slow)
	l.served += (r - l.served) / averageOf
	l.replied = max(l.begun+r, l.seen)
	if l.told&^yieldFlag != 0 {
		l.came(max(l.replied-l.begun-r-e.in.found.aside-e.out.found.aside, 0))
	}
}

// came notes how late a reply came to a call by which a core was given away.
func (l *look) came(late int64) {
	l.late += (min(late, 4*tooLate) - l.late) / lateAverageOf
	if l.late < tooLate {
		l.longRest = max(l.longRest-1, firstLongRest)
		return
	}
	l.late, l.misses, l.resting, l.longRest = 0, 0, l.longRest, min(2*l.longRest, lastLongRest)
}

// Counters returns what the end has counted.
func (e *End) Counters() Counters {
	return Counters{Hits: e.look.counts.hits.Load(), Misses: e.look.counts.misses.Load(), Bells: e.rings.Load()}
}

// forBytes returns for how long to look for bytes, whether to give the core away meanwhile, and whether it is within a large
// message. rang says whether the peer had to be woken, and behind how much it has still to read of a large message.
func (l *look) forBytes(in *source, rang *atomic.Bool, behind *atomic.Int64) (d int64, yield, large bool) {
	d, yield = l.budget, l.yield
	if !l.app {
		d, yield = l.hear()
	}
	l.budget = 0
	l.expected = d > 0
	woken := rang.Load()
	if woken {
		rang.Store(false)
	}
	large = in.burst
	switch {
	case large:
		d = max(d, nextPart(len(in.ring)))
		in.burst = false
	case d > 0 && woken && l.app && !yield:
		d += wakeUp
	}
	if l.app && behind.Load() > 0 {
		d += min(behind.Swap(0)/bytesPerNs, maxRead)
		large = true
	}
	if large && in.found.shared {
		d = 0
	}
	in.found.shared = false
	return d, yield, large
}

// forRoom does the same for room, of which only a large message can have too little.
func (l *look) forRoom(out *sink) (d int64, yield bool) {
	yield = l.yield
	if !l.app {
		_, yield = l.hear()
	}
	if d = nextPart(len(out.ring)); out.found.shared {
		d = 0
	}
	out.found.shared = false
	return d, yield
}

// nextPart is for how long to look for the next quarter of a ring, in ns.
func nextPart(ring int) int64 { return min(int64(ring/4/bytesPerNs), maxLook) + 2*wakeUp }

// hear returns what the app has told the worker.
func (l *look) hear() (d int64, yield bool) {
	word := l.word.Load()
	return min(int64(word&^yieldFlag), maxLook), word&yieldFlag != 0
}

// looked notes how a look for bytes has ended, at the given time if that isn't 0.
func (l *look) looked(at int64, hit bool) {
	l.seen = max(l.seen, at)
	if hit {
		count(&l.counts.hits)
		l.misses, l.rest = 0, firstRest
		return
	}
	count(&l.counts.misses)
	if !l.expected {
		return
	}
	if l.misses++; l.misses == lookMisses {
		l.misses, l.resting, l.rest = 0, l.rest, min(2*l.rest, lastRest)
	}
}

// slept notes that the end has slept for bytes, which takes so long that a look at the clock doesn't matter.
func (l *look) slept() {
	if l.app {
		l.seen = l.now()
	}
}

// until looks until ready or until the time is over. It returns a time when it was not ready yet, or, of an app that has offered
// its core to others, when it was; 0 if the clock was not looked at. large says that it is within a large message.
func (l *look) until(d int64, yield, large bool, ready func() (bool, error), f *found) (at int64, ok bool, err error) {
	if yield {
		return l.give(d, ready, f)
	}
	return l.spin(d, large, ready, f)
}

// spin is until in a loop that keeps the core, but within a large message offers it after the first rounds.
func (l *look) spin(d int64, large bool, ready func() (bool, error), f *found) (at int64, ok bool, err error) {
	const rounds = 32 // without a look at the clock
	var end int64
	for {
		offer := large && end != 0
		if offer {
			yieldCore()
			f.shared = f.shared || l.now()-at > gaveMuch
		}
		for range rounds {
			pause()
			if ok, err := ready(); ok || err != nil {
				if l.app && offer {
					at = l.now()
				}
				return at, ok, err
			}
		}
		at = l.now()
		if end == 0 {
			end = at + d
		}
		if at >= end {
			return at, false, nil
		}
	}
}

// give is until giving the core away. d is for the time in which nobody wanted it. Standing aside for the network takes as long
// as that does; whoever sleeps waits for the same.
func (l *look) give(d int64, ready func() (bool, error), f *found) (at int64, ok bool, err error) {
	at = l.now()
	end := at + maxGiving
	for i := 0; d > 0 && at < end; i++ {
		switch {
		case l.app && l.net.makeWay(at):
			stood := l.now() - at
			f.aside += stood
			at, end = at+stood, end+stood
		case l.app && i%4 != 3:
			runtime.Gosched()
		default:
			yieldCore()
		}
		if ok, err := ready(); ok || err != nil {
			if l.app {
				at = l.now()
			}
			return at, ok, err
		}
		now := l.now()
		if now-at < gaveNobody {
			d -= now - at
		}
		at = now
	}
	return at, false, nil
}

var started = time.Now()

func ownClock() int64 { return int64(time.Since(started)) }
