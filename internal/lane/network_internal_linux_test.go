package lane

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/leaktest"
)

// Whoever stands aside goes on, also when the last end leaves meanwhile, and when others come.
func TestNetwork(t *testing.T) {
	leaktest.Check(t)
	n := new(Network)
	if n.makeWay(visitEvery) {
		t.Error("somebody stands aside for a Network that nobody has entered")
	}
	n.Enter()
	if !n.makeWay(2*visitEvery) || n.makeWay(3*visitEvery-1) || !n.makeWay(3*visitEvery) {
		t.Errorf("there is not one visit in %v", time.Duration(visitEvery))
	}
	n.Leave()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			n.Enter()
			defer n.Leave()
			visits := 0
			for visits < 1000 {
				if n.makeWay(ownClock()) {
					visits++
				}
				if visits%100 == 0 {
					n.Leave()
					runtime.Gosched()
					n.Enter()
				}
				runtime.Gosched()
			}
		})
	}
	all.Wait()
	if n.makeWay(ownClock() + visitEvery) {
		t.Error("somebody stands aside for a Network that everybody has left")
	}
}
