package lane

import (
	"sync"
	"sync/atomic"
	"time"
)

// Network is what the ends of an app share, because the process has one network poller. While goroutines that look keep giving
// their cores to each other none is ever idle, and only who is idle polls the network: everything else that the app does there
// would wait for the 10 ms after which Go looks all the same. So every visitEvery those that look stand aside until the poller
// has come by. Their workers go on meanwhile. Those that keep their cores while they look stand aside for nobody: they leave half
// of the cores to others.
//
// The zero Network has nobody stand aside. One for which Enter was called does, until Leave was called as often.
type Network struct {
	visited atomic.Int64                  // when the last visit began, by the clock of the ends
	aside   atomic.Pointer[chan struct{}] // closed when those that stand aside may look again; nil while nobody does
	visit   atomic.Pointer[visit]         // nil if nobody has entered, or it can't be had

	mu   sync.Mutex // guards ends
	ends int        // that have entered
}

// visitEvery bounds what the network has to wait. A round trip of the app's takes longer than that anyhow when the cores are
// busy, and a visit takes 6 µs.
const visitEvery = int64(100 * time.Microsecond)

// Enter says that there is one more end that may look. It costs a descriptor for all of them. If there is none to be had, nobody
// stands aside, until somebody else enters and there is one.
func (n *Network) Enter() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ends++
	if n.visit.Load() == nil {
		n.visit.Store(newVisit())
	}
}

// Leave says that an end that has entered looks no more.
func (n *Network) Leave() {
	var v *visit
	n.mu.Lock()
	if n.ends--; n.ends == 0 {
		v = n.visit.Swap(nil)
	}
	n.mu.Unlock()
	if v != nil {
		v.close() // which waits for who visits
	}
}

// makeWay is called by who looks and gives its core away. It reports whether it has stood aside for the network.
func (n *Network) makeWay(now int64) bool {
	if aside := n.aside.Load(); aside != nil {
		<-*aside
		return true
	}
	last := n.visited.Load()
	if now-last < visitEvery {
		return false
	}
	v := n.visit.Load()
	if v == nil || !n.visited.CompareAndSwap(last, now) {
		return false
	}
	aside := make(chan struct{})
	if !n.aside.CompareAndSwap(nil, &aside) {
		return false
	}
	defer func() {
		n.aside.Store(nil)
		close(aside)
	}()
	v.await()
	return true
}
