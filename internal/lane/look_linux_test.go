package lane_test

import (
	"encoding/binary"
	"runtime"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/lane"
)

// calls is an app's end with a worker that replies when the test wants it to, all in one goroutine and on a clock of its own.
type calls struct {
	t           *testing.T
	m           *lane.Memory
	app, worker *lane.End
	mem         []byte
	clock       int64
	tick        time.Duration // what a look at the clock takes
	asked       bool
	whileLooked bool          // the worker replies when the app looks at the clock, and else when it sleeps
	looks       int           // but not before it has looked so often
	late        time.Duration // then so much time has passed
}

func newCalls(t *testing.T) *calls { return newCallsOn(t, lane.MinRing) }

func newCallsOn(t *testing.T, ring int) *calls {
	c := &calls{t: t, tick: 10 * time.Microsecond}
	m := create(t, ring)
	c.mem = share(t, int(m.File().Fd()))
	c.worker = lane.NewWorker(open(t, int(m.File().Fd())), deadBell{})
	c.m = m
	c.share(new(lane.Network))
	return c
}

// share gives the app a new end.
func (c *calls) share(net *lane.Network) { c.app = lane.NewApp(c.m, c, c.now, net) }

func (c *calls) now() int64 {
	c.clock += int64(c.tick)
	if c.looks--; c.whileLooked && c.looks < 0 {
		c.reply()
	}
	return c.clock
}

func (c *calls) Ring() error { return nil }

func (c *calls) Wait() error {
	c.reply()
	return nil
}

func (c *calls) reply() {
	if !c.asked {
		return
	}
	c.asked = false
	c.clock += int64(c.late)
	pass(c.t, c.app, c.worker, false)
	pass(c.t, c.worker, nil, true)
}

// pass has one byte written or read.
func pass(t *testing.T, from, to *lane.End, write bool) {
	t.Helper()
	var err error
	if write {
		_, err = from.Write([]byte{1})
	} else {
		_, err = to.Read(make([]byte, 1))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// call makes n calls, each so long after the last one, and each served for so long as the worker says. It returns how many
// looks there were.
func (c *calls) call(n, callers int, gap, served time.Duration) (hits, misses int) {
	c.t.Helper()
	before := c.app.Counters()
	for range n {
		c.clock += int64(gap)
		c.app.Begin(c.clock, callers)
		pass(c.t, c.app, nil, true)
		c.asked = true
		pass(c.t, nil, c.app, false)
		c.app.Served(served)
	}
	after := c.app.Counters()
	return int(after.Hits - before.Hits), int(after.Misses - before.Misses)
}

// told returns what the worker was told last.
func (c *calls) told() (look time.Duration, yield bool) {
	word := binary.NativeEndian.Uint32(c.mem[appWords+lookWord:])
	return time.Duration(word &^ (1 << 31)), word>>31 != 0
}

const many = 1 << 20 // callers

func TestLooksWhileCallsAreQuick(t *testing.T) {
	t.Parallel()
	for _, callers := range []int{1, many} {
		c := newCalls(t)
		c.whileLooked = true
		c.call(100, callers, time.Microsecond, time.Microsecond)
		if hits, misses := c.call(100, callers, time.Microsecond, time.Microsecond); hits != 100 || misses != 0 {
			t.Errorf("%d callers: %d hits and %d misses in 100 quick calls", callers, hits, misses)
		}
		look, yield := c.told()
		if look < 20*time.Microsecond || look > 50*time.Microsecond || (callers == many && !yield) {
			t.Errorf("%d callers: the worker is to look for %v, and give its core away: %t", callers, look, yield)
		}
		c.call(1, callers, time.Second, time.Microsecond) // one pause
		c.call(20, callers, time.Microsecond, time.Microsecond)
		if hits, _ := c.call(100, callers, time.Microsecond, time.Microsecond); hits != 100 {
			t.Errorf("%d callers: %d hits in 100 quick calls after a pause", callers, hits)
		}
	}
}

func TestNobodyLooksForWhatIsSlow(t *testing.T) {
	t.Parallel()
	for _, callers := range []int{1, many} {
		for _, tt := range []struct{ gap, served time.Duration }{
			{2 * time.Millisecond, time.Microsecond},
			{time.Microsecond, 200 * time.Microsecond},
			{time.Microsecond, -1 << 63}, // no time at all
			{time.Microsecond, 1<<63 - 1},
		} {
			c := newCalls(t)
			c.whileLooked = true
			c.call(100, callers, time.Microsecond, time.Microsecond)
			c.call(20, callers, tt.gap, tt.served)
			hits, misses := c.call(100, callers, tt.gap, tt.served)
			look, _ := c.told()
			if quick := tt.served < 0; quick != (hits == 100) || quick != (look > 0) || misses != 0 || (!quick && hits > 0) {
				t.Errorf("%d callers, a call of %v every %v: %d hits and %d misses in 100; the worker looks for %v",
					callers, tt.served, tt.gap, hits, misses, look)
			}
		}
	}
}

// While somebody else wants the core that it gives away, who looks goes on; else its time is soon over.
func TestTimeOfOthersDoesNotCount(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		tick time.Duration // from giving the core away to having it back
		hits int
	}{{5 * time.Microsecond, 1}, {time.Microsecond, 0}, {50 * time.Microsecond, 0}} {
		c := newCalls(t)
		c.whileLooked = true
		c.call(100, many, time.Microsecond, time.Microsecond)
		c.tick, c.looks = tt.tick, 80
		hits, misses := c.call(1, many, time.Microsecond, time.Microsecond)
		if hits != tt.hits || hits+misses != 1 {
			t.Errorf("80 times %v: %d hits and %d misses", tt.tick, hits, misses)
		}
	}
}

// An answer can't come before the peer has read what stands in the ring.
func TestLooksWhileTheRingIsRead(t *testing.T) {
	t.Parallel()
	if runtime.GOMAXPROCS(0) < 2 || runtime.NumCPU() < 2 {
		t.Skip("with one core everybody gives it away, and whoever wants it may take longer")
	}
	const ring = 1 << 20
	for _, tt := range []struct{ size, hits int }{{ring, 1}, {ring / 8, 0}} {
		c := newCallsOn(t, ring)
		c.whileLooked = true
		c.call(100, 1, time.Microsecond, time.Microsecond)
		c.looks = 15 // of 10 µs
		before := c.app.Counters().Hits
		c.app.Begin(c.clock, 1)
		if _, err := c.app.Write(make([]byte, tt.size)); err != nil {
			t.Fatal(err)
		}
		c.asked = true
		pass(t, nil, c.app, false)
		if hits := int(c.app.Counters().Hits - before); hits != tt.hits {
			t.Errorf("%d bytes: %d hits", tt.size, hits)
		}
	}
}

// Looks in vain, like those for a worker that doesn't get a core, become rare.
func TestMissesBackOff(t *testing.T) {
	t.Parallel()
	c := newCalls(t)
	hits, misses := c.call(1000, 1, time.Microsecond, time.Microsecond)
	if hits != 0 || misses < 6 || misses > 60 {
		t.Errorf("%d hits and %d misses in 1000 calls", hits, misses)
	}
}

// So do looks by which the core goes to somebody else for long.
func TestLateRepliesBackOff(t *testing.T) {
	t.Parallel()
	for _, entered := range []bool{false, true} { // the second ones stand aside in nearly every call
		c := newCalls(t)
		if entered {
			c.share(network(t))
		}
		c.whileLooked = true
		c.late = 3 * time.Millisecond
		hits, misses := c.call(5000, many, time.Microsecond, time.Microsecond)
		if hits == 0 || hits > 50 || misses != 0 {
			t.Errorf("network %t: %d hits and %d misses in 5000 calls", entered, hits, misses)
		}
		c.late = 0
		c.call(5000, many, time.Microsecond, time.Microsecond)
		if hits, _ := c.call(100, many, time.Microsecond, time.Microsecond); hits != 100 {
			t.Errorf("network %t: %d hits in 100 calls that are not late any more", entered, hits)
		}
	}
}

// A call that is answered while the app looks allocates nothing.
func TestNoAllocation(t *testing.T) {
	c := newCalls(t)
	c.whileLooked = true
	c.call(100, 1, time.Microsecond, time.Microsecond)
	n := testing.AllocsPerRun(1000, func() { c.call(1, 1, time.Microsecond, time.Microsecond) })
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
