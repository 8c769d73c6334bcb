package server_test

import (
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/lane"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// clientBell is the socket of a client by hand, as lane.Bell.
type clientBell struct{ nc net.Conn }

func (b clientBell) Ring() error { _, err := b.nc.Write([]byte{0}); return err }
func (b clientBell) Wait() error { _, err := b.nc.Read(make([]byte, 64)); return err }

// take has the worker take up a lane, over which the client then speaks.
func (o *offering) take() (end *lane.End, words []uint64) {
	o.Helper()
	m, fd := o.memory()
	mem, err := unix.Mmap(fd, 0, 4096+2*m.Ring(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		o.Fatal(err)
	}
	o.Cleanup(func() { unix.Munmap(mem) })
	o.lane(fd)
	o.hears(wire.TypeLane, 1)
	begun := time.Now()
	end = lane.NewApp(m, clientBell{o.nc}, func() int64 { return int64(time.Since(begun)) }, new(lane.Network))
	o.c.Switch(end)
	return end, unsafe.Slice((*uint64)(unsafe.Pointer(&mem[0])), len(mem)/8)
}

// A client by hand has calls, cancels and the end of its connection on a lane.
func TestLaneByHand(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{CancelGrace: patience})
	o := offer(t, s.serve(t, "unix"), wire.LaneLayout)
	o.works(1)
	before := o.files()
	o.take()
	if now := o.files(); now != before || !o.mapped() {
		t.Errorf("the worker has %d descriptors instead of %d", now, before)
	}
	for id := range uint32(100) {
		o.works(id)
	}
	for id := range uint32(5) { // of a handler that runs long enough for the watch to listen, and at once
		o.say(wire.Message{Type: wire.TypeDo, ID: 200 + id, Method: "wait"})
		if id%2 == 0 {
			s.lines.Says(t, "waiting")
			time.Sleep(30 * time.Millisecond)
		}
		o.say(wire.Message{Type: wire.TypeCancel, ID: 7}) // another one's
		o.say(wire.Message{Type: wire.TypeCancel, ID: 200 + id})
		o.hears(wire.TypeEr, 200+id)
		o.works(300 + id)
	}
	o.nc.Write(make([]byte, 100_000)) // bells too many
	o.works(400)
	for id := range uint32(20) { // too early: each one's turn comes
		o.say(wire.Message{Type: wire.TypeDo, ID: 410 + id, Method: "getpid"})
	}
	for id := range uint32(20) {
		o.hears(wire.TypeOK, 410+id)
	}
	o.say(wire.Message{Type: wire.TypeDo, ID: 401, Method: "wait"})
	o.nc.CloseWrite()
	o.hears(wire.TypeEr, 401) // canceled, as the client has gone
}

// A client that writes nonsense into the memory ends its own worker, if any, and nothing else.
func TestLaneAndAClientThatScribbles(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{})
	address := s.serve(t, "unix")
	for seed := range uint64(20) {
		o := offer(t, address, wire.LaneLayout)
		o.works(1)
		_, words := o.take()
		o.works(2)
		r := rand.New(rand.NewPCG(seed, 2))
		for i := range 20_000 {
			at := r.IntN(len(words))
			if i%2 == 0 {
				at = r.IntN(128)
			}
			words[at] = r.Uint64() >> r.IntN(64)
			if i%100 == 0 {
				o.nc.SetWriteDeadline(time.Now().Add(time.Millisecond))
				o.nc.Write([]byte{0})
			}
		}
		words[0] = 1 << 60 // so much it has never written
		o.nc.SetWriteDeadline(time.Now().Add(time.Second))
		o.nc.Write([]byte{0})
		io.Copy(io.Discard, o.nc) // to its end
	}
	p := newPool(t, pool.Unix(address), pool.Config{})
	if got, err := echo.Call(proctest.Limited(t), p, "still there"); err != nil || got != "still there" {
		t.Errorf("%q, %v", got, err)
	}
}

// A reply that waits for room gets it while the server is closing, as one that waits on a socket does.
func TestLaneReplyWhileTheServerCloses(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{CancelGrace: patience})
	o := offer(t, s.serve(t, "unix"), wire.LaneLayout)
	o.works(1)
	_, words := o.take()
	text := strings.Repeat("long ", 100_000)
	o.say(wire.Message{Type: wire.TypeDo, ID: 2, Method: "echo", Values: []any{text}})
	const tail = 512 / 8 // the worker's
	proctest.Eventually(t, "the worker replies", func() bool { return atomic.LoadUint64(&words[tail]) > 0 })
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	time.Sleep(200 * time.Millisecond) // until the worker knows of it, which it tells nobody
	m := o.hears(wire.TypeOK, 2)
	var got string
	if err := m.Decode(&got); err != nil || got != text {
		t.Errorf("%.20q, %v", got, err)
	}
	o.isViolation() // the end
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
