package pool_test

import (
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/pool"
)

// Goroutines that look for replies keep the cores busy, and only who is idle looks after the network. What else the app does there
// must not wait for that: it takes a little longer than beside calls on sockets, and not a hundred times as long.
func TestLaneCallersLeaveTheNetworkItsTurn(t *testing.T) {
	beside := map[int]time.Duration{}
	for _, memory := range []int{0, -1} { // not at the same time
		p := newPool(t, sharedServer(t), pool.Config{MinWorkers: 8, MaxWorkers: 8, SharedMemory: memory})
		stop := callers(t, p, 64)
		if memory == 0 {
			until(t, "all workers share memory", func() bool { return p.Stat().SharedMemory == 8 })
		}
		beside[memory] = roundTrips(t, 101)
		stop()
	}
	if beside[0] > 25*beside[-1] {
		t.Errorf("a round trip takes %v beside calls in shared memory, and %v beside others", beside[0], beside[-1])
	}
}

// callers has n goroutines call the pool until stop is called.
func callers(t *testing.T, p *pool.Pool, n int) (stop func()) {
	t.Helper()
	var over atomic.Bool
	var all sync.WaitGroup
	ctx := limited(t)
	for range n {
		all.Go(func() {
			for !over.Load() {
				if _, err := pid.Call(ctx, p); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	return func() {
		over.Store(true)
		all.Wait()
	}
}

// roundTrips returns the median time that a byte takes to another goroutine and back, over a socket.
func roundTrips(t *testing.T, n int) time.Duration {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		if c, err := l.Accept(); err == nil {
			io.Copy(struct{ io.Writer }{c}, c) // not by splice(2)
			c.Close()
		}
	}()
	c := must[net.Conn](t)(net.Dial("tcp", l.Addr().String()))
	c.SetDeadline(time.Now().Add(patience))
	var took []time.Duration
	for range n {
		time.Sleep(time.Millisecond) // nobody on the network is awake then, as in a program that hears from it now and then
		begin := time.Now()
		must[int](t)(c.Write([]byte{1}))
		must[int](t)(io.ReadFull(c, make([]byte, 1)))
		took = append(took, time.Since(begin))
	}
	c.Close()
	<-echoed
	slices.Sort(took)
	return took[n/2]
}
