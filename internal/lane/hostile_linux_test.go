package lane_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/bullpen-go/bullpen/internal/lane"
)

// scriptBell is a bell whose peer scribbles while the end under test sleeps, by a script. The stream ends with the script.
type scriptBell struct {
	mem    []byte
	script []byte
	waits  int
}

func (b *scriptBell) Ring() error {
	b.scribble()
	return nil
}

func (b *scriptBell) Wait() error {
	b.waits++
	if len(b.script) == 0 {
		return io.EOF
	}
	b.scribble()
	return nil
}

// scribble does the next line of the script: where, in three bytes, and what, in eight. Half of them go to the words.
func (b *scriptBell) scribble() {
	if len(b.script) < 11 {
		b.script = nil
		return
	}
	at := int(b.script[0]) | int(b.script[1])<<8 | int(b.script[2]&0x7f)<<16
	if b.script[2]&0x80 != 0 {
		at %= 2 * workWords
	}
	copy(b.mem[at%len(b.mem):], b.script[3:11])
	b.script = b.script[11:]
}

// FuzzHostile has a peer scribble over the whole memory while an end reads and writes.
func FuzzHostile(f *testing.F) {
	line := func(at int, v uint64) []byte {
		return binary.NativeEndian.AppendUint64([]byte{byte(at), byte(at >> 8), 0x80}, v)
	}
	f.Add(false, uint16(100), []byte{})
	for _, side := range []int{appWords, workWords} {
		f.Add(side == appWords, uint16(5000), bytes.Join([][]byte{
			line(side+asleepWord, 1), line(side+tailWord, 100), line(side+headWord, 4096), line(side+fullWord, 1<<64-1),
			line(side+tailWord, 4096), line(side+lookWord, 1<<32-1), line(side+tailWord, 1<<63), line(side+headWord, 1<<64-1),
		}, nil))
	}
	f.Fuzz(func(t *testing.T, worker bool, size uint16, script []byte) {
		m, err := lane.Create(lane.MinRing)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		peer, err := lane.Open(int(m.File().Fd()))
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		b := &scriptBell{mem: share(t, int(m.File().Fd())), script: script[:min(len(script), 11*500)]}
		lines := len(b.script)/11 + 1
		v := newVictim(m, b, worker, 64<<10)
		for range 2 * lines {
			err := v.visit(int(size))
			if err != nil && err != io.EOF && !errors.Is(err, lane.ErrCorrupt) {
				t.Fatal(err)
			}
			if err != nil {
				break
			}
			b.scribble()
		}
		if b.waits > 2*lines+2 {
			t.Errorf("%d waits for %d bells", b.waits, lines)
		}
	})
}

// victim is an end whose peer keeps to nothing, and the memory that it reads into, with some more on both sides of it.
type victim struct {
	end     *lane.End
	renew   func() // begins with a new end
	in, out []byte
}

const fence = 256

var fenced = bytes.Repeat([]byte{0xa5}, fence)

// newVictim returns one that reads and writes up to max bytes at once.
func newVictim(m *lane.Memory, b lane.Bell, worker bool, max int) *victim {
	v := &victim{out: make([]byte, max), in: make([]byte, max+2*fence)}
	v.renew = func() {
		v.end = lane.NewApp(m, b, now, new(lane.Network))
		if worker {
			v.end = lane.NewWorker(m, b)
		}
	}
	v.renew()
	return v
}

var errOutside = errors.New("an end has done what it was not asked for")

// visit writes and reads once, up to size bytes.
func (v *victim) visit(size int) error {
	v.end.Begin(now(), 1)
	n, err := v.end.Write(v.out[:size])
	if n < 0 || n > size || (err == nil) != (n == size) {
		return errOutside
	}
	if err != nil {
		return err
	}
	before, in, after := v.in[:fence], v.in[fence:fence+size], v.in[fence+size:2*fence+size]
	copy(before, fenced)
	copy(after, fenced)
	n, err = v.end.Read(in)
	v.end.Served(time.Duration(n))
	if n < 0 || n > size || (err != nil && n > 0) || !bytes.Equal(before, fenced) || !bytes.Equal(after, fenced) {
		return errOutside
	}
	return err
}

// scribbleVar says for how long TestScribblers runs, like 1h.
const scribbleVar = "LANE_SCRIBBLE"

// TestScribblers has a peer write random words all over the memory at full speed, while an end reads and writes.
func TestScribblers(t *testing.T) {
	t.Parallel()
	d := time.Second
	if s := os.Getenv(scribbleVar); s != "" {
		var err error
		if d, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("app", func(t *testing.T) { scribble(t, d/2, false) }) // one after the other: each takes two cores
	t.Run("worker", func(t *testing.T) { scribble(t, d/2, true) })
}

// noisyBell rings at random: a wait ends, by a bell or by a deadline.
type noisyBell struct {
	random *rand.Rand
	waits  uint64
}

func (b *noisyBell) Ring() error { return nil }
func (b *noisyBell) Wait() error {
	b.waits++
	if b.random.IntN(4) == 0 {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func scribble(t *testing.T, d time.Duration, worker bool) {
	m := create(t, lane.MinRing)
	mem := share(t, int(m.File().Fd()))
	s := &scribbler{words: unsafe.Slice((*uint64)(unsafe.Pointer(&mem[0])), len(mem)/8), own: workWords / 8, peer: appWords / 8}
	if worker {
		s.own, s.peer = s.peer, s.own
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		s.run()
	}()
	defer func() { // before the memory goes
		s.stop.Store(true)
		<-over
	}()
	hangs := time.AfterFunc(d+patience, func() { panic("an end whose peer scribbles hangs, or doesn't meet all that it should") })
	defer hangs.Stop()
	b := &noisyBell{random: rand.New(rand.NewPCG(3, 4))}
	const large = 2 << 20 // goes past the caches
	v := newVictim(m, b, worker, large)
	var calls, corrupt, late uint64
	// With one processor the peer may have written little that is worth reading when the time is over.
	happened := func() bool { return corrupt > 0 && late > 0 && corrupt+late < calls }
	for end := time.Now().Add(d); calls%1000 != 0 || time.Now().Before(end) || !happened(); calls++ {
		size := b.random.IntN(1 << b.random.IntN(16))
		if calls%256 == 0 {
			size = b.random.IntN(large)
		}
		err := v.visit(size)
		switch {
		case errors.Is(err, lane.ErrCorrupt):
			corrupt++
			s.forget()
			v.renew()
			runtime.Gosched() // to the peer, with one processor
		case errors.Is(err, os.ErrDeadlineExceeded):
			late++
		case err != nil:
			t.Fatal(err)
		}
	}
	s.stop.Store(true)
	<-over
	t.Logf("%d scribbles, %d calls, of which %d found the memory corrupt and %d met a deadline; %d waits", s.count, calls,
		corrupt, late, b.waits)
	if s.count == 0 {
		t.Error("the peer has not written at all")
	}
}

// scribbler is a peer that writes anything anywhere, and now and then an index that could be.
type scribbler struct {
	words     []uint64
	own, peer int // where its own words are, and those of the end under test
	stop      atomic.Bool
	count     uint64
}

// forget clears the words of the end under test, as a new one finds them.
func (s *scribbler) forget() {
	for at := range workWords / 8 {
		atomic.StoreUint64(&s.words[s.peer+at], 0)
	}
}

func (s *scribbler) run() {
	random := rand.New(rand.NewPCG(1, 2))
	word := func(side, at int) *uint64 { return &s.words[side+at/8] }
	for !s.stop.Load() {
		for range 100 {
			v := random.Uint64()
			if v%64 == 0 {
				atomic.StoreUint64(&s.words[random.IntN(len(s.words))], random.Uint64()>>random.IntN(64))
				continue
			}
			n := v >> 8 % lane.MinRing
			atomic.StoreUint64(word(s.own, tailWord), atomic.LoadUint64(word(s.peer, headWord))+n)
			atomic.StoreUint64(word(s.own, headWord), atomic.LoadUint64(word(s.peer, tailWord))-n)
		}
		s.count += 100
		runtime.Gosched() // to the end under test, with one processor
	}
}
