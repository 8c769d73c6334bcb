package pool_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

func TestLaneComesWithQuickCalls(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	co := checkout(t, p)
	for range 10 { // too few
		must[int](t)(pid.Call(limited(t), co))
	}
	equal(t, "workers that share memory after ten calls", p.Stat().SharedMemory, 0)
	until(t, "memory is shared", func() bool { // on a busy machine calls are not quick
		for range 20 {
			must[int](t)(pid.Call(limited(t), co))
		}
		return p.Stat().SharedMemory == 1
	})
	if _, _, ok := laneMapping(fmt.Sprint(co.Pid())); !ok {
		t.Error("the worker has not mapped it")
	}
	equal(t, "the worker", must[int](t)(pid.Call(limited(t), co)), co.Pid())
	co.Release()
	equal(t, "workers that share memory after the release", p.Stat().SharedMemory, 1)
	equal(t, "the pool's worker", must[int](t)(pid.Call(limited(t), p)), co.Pid())
}

func TestLaneComesWithALargeCall(t *testing.T) {
	t.Parallel()
	for what, large := range map[string]func(c wire.Caller){
		"call":  func(c wire.Caller) { must[int](t)(size.Call(limited(t), c, make([]byte, 256<<10))) },
		"reply": func(c wire.Caller) { must[[]byte](t)(fill.Call(limited(t), c, 256<<10)) },
	} {
		p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
		must[int](t)(pid.Call(limited(t), p))
		large(p)
		equal(t, what+": workers that share memory before the next call", p.Stat().SharedMemory, 0)
		must[int](t)(pid.Call(limited(t), p))
		equal(t, what+": workers that share memory", p.Stat().SharedMemory, 1)
	}
}

// Stat counts looks, also those of workers that are there no more.
func TestLaneCountsLooks(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	co := onLane(t, p)
	until(t, "there was a look", func() bool {
		must[[]byte](t)(echoBytes.Call(limited(t), co, make([]byte, 4<<20)))
		return p.Stat().Looks > 0
	})
	before := p.Stat()
	if before.LooksInVain < 0 || before.LooksInVain > before.Looks {
		t.Errorf("%+v", before)
	}
	co.Abort(nil)
	after := p.Stat()
	equal(t, "workers that share memory", after.SharedMemory, 0)
	equal(t, "looks", after.Looks, before.Looks)
	equal(t, "looks in vain", after.LooksInVain, before.LooksInVain)
}

func TestLaneIsNotForSlowCallers(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1})
	for range 40 {
		must[wire.None](t)(nap.Call(limited(t), p, 2*time.Millisecond))
	}
	s := p.Stat()
	equal(t, "workers that share memory", s.SharedMemory, 0)
	equal(t, "looks", s.Looks, 0)
}

func TestLaneIsNotForEverybody(t *testing.T) {
	t.Parallel()
	path := shortDir(t) + "/s"
	start(t, plain, forkserver.Config{Listen: []string{path}})
	for name, p := range map[string]*pool.Pool{
		"switched off":  newPool(t, sharedServer(t), pool.Config{SharedMemory: -1}),
		"the JSON wire": newPool(t, sharedServer(t), pool.Config{Wire: wire.JSON}),
		"an address":    newPool(t, pool.Unix(path), pool.Config{}),
		"two addresses": newPool(t, pool.Spread(pool.Unix(path), pool.Unix(path)), pool.Config{}),
	} {
		co := checkout(t, p)
		warm(t, co)
		for range 100 {
			must[int](t)(pid.Call(limited(t), co))
		}
		s := p.Stat()
		equal(t, name+": workers that share memory", s.SharedMemory, 0)
		equal(t, name+": looks", s.Looks, 0)
	}
}

// A worker that can't map more memory goes on without.
func TestLaneThatCannotBeMapped(t *testing.T) {
	t.Parallel()
	p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1, SharedMemory: 32 << 20})
	co := checkout(t, p)
	must[int](t)(pid.Call(limited(t), co))
	must[[]byte](t)(cramp.Call(limited(t), co, true))
	must[[]byte](t)(cramp.Call(limited(t), co, false)) // the lane was offered before this one
	equal(t, "workers that share memory", p.Stat().SharedMemory, 0)
	for range 100 {
		equal(t, "the worker", must[int](t)(pid.Call(limited(t), co)), co.Pid())
	}
	equal(t, "workers that share memory", p.Stat().SharedMemory, 0)
}

func TestLaneCarriesAllSizes(t *testing.T) {
	t.Parallel()
	for _, memory := range []int{8 << 10, 0, 64 << 10} {
		t.Run(fmt.Sprint(memory), func(t *testing.T) {
			t.Parallel()
			ring := memory / 2
			if memory == 0 {
				ring = 1 << 20
			}
			p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1, SharedMemory: memory})
			co := onLane(t, p)
			sizes := []int{0, 1, 3*ring + 7, 5 * ring, 16 << 20}
			for _, part := range []int{ring / 4, ring / 2, ring, 2 * ring} {
				for _, off := range []int{-100, -64, -50, -36, -1, 0, 1, 40} { // heads of messages among them
					sizes = append(sizes, part+off)
				}
			}
			for _, n := range sizes {
				sent := pattern(n)
				if got := must[[]byte](t)(echoBytes.Call(limited(t), co, sent)); !bytes.Equal(got, sent) {
					t.Fatalf("%d bytes have come back as other ones, or %d", n, len(got))
				}
				equal(t, "bytes of a call", must[int](t)(size.Call(limited(t), co, sent)), n)
				if got := must[[]byte](t)(fill.Call(limited(t), co, n)); !bytes.Equal(got, sent) {
					t.Fatalf("%d bytes of a reply have come as other ones, or %d", n, len(got))
				}
			}
			equal(t, "workers that share memory", p.Stat().SharedMemory, 1)
			equal(t, "the worker", must[int](t)(pid.Call(limited(t), co)), co.Pid())
		})
	}
}
