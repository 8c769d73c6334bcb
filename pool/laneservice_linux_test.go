package pool_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

var (
	// size returns how much it was sent, and fill returns so much.
	size = server.Handle(plain, "size", func(_ context.Context, b []byte) (int, error) { return len(b), nil })
	fill = server.Handle(plain, "fill", func(_ context.Context, n int) ([]byte, error) { return pattern(n), nil })

	// note appends to a file that it has run, and returns.
	note = server.Handle(plain, "note", func(_ context.Context, file string) (int, error) {
		return os.Getpid(), appendLine(file, "x")
	})

	// scribble writes random words all over the memory that this worker shares: once, or from then on.
	scribble = server.Handle2(plain, "scribble", func(_ context.Context, seed uint64, goOn bool) (int, error) {
		words := laneWords()
		r := rand.New(rand.NewPCG(seed, 1))
		mess := func() {
			for range 1000 {
				at := r.IntN(len(words))
				if r.IntN(2) == 0 {
					at = r.IntN(128) // the words of both sides
				}
				words[at] = r.Uint64() >> r.IntN(64)
			}
		}
		mess()
		if goOn {
			go func() {
				for {
					mess()
					time.Sleep(time.Microsecond)
				}
			}()
		}
		return len(words), nil
	})

	// dawdle has this worker stop, or die: "read" in the middle of its reply of 32 MiB, "write" before the next call, and
	// "die reading" in the middle of the next call.
	dawdle = server.Handle2(plain, "dawdle", func(_ context.Context, gate, how string) ([]byte, error) {
		runtime.GOMAXPROCS(3) // so that what looks and what is looked at run at once
		words := laneWords()
		const tail, head = 64, 80 // this side's
		word, sig, reply := tail, syscall.SIGSTOP, []byte(nil)
		switch how {
		case "read":
			reply = pattern(32 << 20)
		case "die":
			sig, reply = syscall.SIGKILL, pattern(32<<20)
		case "die reading":
			sig, word = syscall.SIGKILL, head
		}
		begin := atomic.LoadUint64(&words[word])
		past := begin + 1<<20
		if how == "write" {
			past = begin + 1
		}
		go func() {
			for atomic.LoadUint64(&words[word]) < past {
			}
			syscall.Kill(os.Getpid(), sig)
		}()
		return reply, nil
	})

	// drip replies with one byte after the other, of a message that never comes to its end.
	drip = server.Handle0(plain, "drip", func(context.Context) (int, error) {
		words := laneWords()
		bytes := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
		ring := bytes[4096+(len(bytes)-4096)/2:]
		tail, head := &words[64], &words[16]
		for i := 0; ; i++ {
			b := byte(0)
			if i < 5 { // a frame's head: its length, and ok
				b = "\x03\xff\xff\xff\x03"[i]
			}
			for atomic.LoadUint64(tail)-atomic.LoadUint64(head) >= 64 {
			}
			ring[*tail%uint64(len(ring))] = b
			atomic.AddUint64(tail, 1)
		}
	})

	// tend has this worker collect its garbage now and then, and returns how often it has come to it.
	tend = server.Handle0(plain, "tend", func(context.Context) (int, error) {
		if !tending {
			tending = true
			go func() {
				for {
					time.Sleep(time.Millisecond)
					runtime.GC()
					tended.Add(1)
				}
			}()
		}
		return int(tended.Load()), nil
	})
	tending bool
	tended  atomic.Int64

	// shut closes all descriptors of this worker, as a library does that means to start a program.
	shut = server.Handle0(plain, "shut", func(context.Context) (int, error) { return os.Getpid(), unix.CloseRange(3, 4095, 0) })

	// clearAndDie clears the memory, and dies.
	clearAndDie = server.Handle(plain, "clear and die", func(_ context.Context, file string) (int, error) {
		appendLine(file, "x")
		clear(laneWords())
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		return 0, nil
	})

	// cramp returns a large reply. From then on this worker can map 24 MiB at most, or as much as it wants again.
	cramp = server.Handle(plain, "cramp", func(_ context.Context, yes bool) ([]byte, error) {
		reply := make([]byte, 512<<10)
		var l syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_AS, &l); err != nil {
			return nil, err
		}
		l.Cur = l.Max
		if yes {
			pages := 0
			statm, _ := os.ReadFile("/proc/self/statm")
			fmt.Sscan(string(statm), &pages)
			l.Cur = uint64(pages*os.Getpagesize() + 24<<20)
		}
		return reply, syscall.Setrlimit(syscall.RLIMIT_AS, &l)
	})
)

// laneWords returns the memory that this worker shares with its app.
func laneWords() []uint64 {
	from, to, ok := laneMapping("self")
	if !ok {
		return nil
	}
	return unsafe.Slice(*(**uint64)(unsafe.Pointer(&from)), (to-from)/8)
}

// laneMapping returns where a process has mapped a lane.
func laneMapping(pid string) (from, to uintptr, ok bool) {
	maps, _ := os.ReadFile("/proc/" + pid + "/maps")
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "bullpen-lane") {
			span, _, _ := strings.Cut(line, " ")
			a, b, _ := strings.Cut(span, "-")
			return hexadecimal(a), hexadecimal(b), true
		}
	}
	return 0, 0, false
}

func hexadecimal(s string) (n uintptr) {
	for _, c := range s {
		n = n<<4 | uintptr(strings.IndexRune("0123456789abcdef", c))
	}
	return n
}

// pattern returns bytes of which each tells its place.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	return b
}

// warm has a checkout's worker use a lane, however busy the machine is: by a large call between two others.
func warm(t testing.TB, c wire.Caller) {
	t.Helper()
	must[int](t)(pid.Call(limited(t), c))
	must[int](t)(size.Call(limited(t), c, make([]byte, 512<<10)))
	must[int](t)(pid.Call(limited(t), c))
}

// onLane returns a checkout whose worker uses a lane.
func onLane(t testing.TB, p interface {
	wire.Caller
	Checkout(context.Context) (*pool.Checkout, error)
	Stat() *pool.Stat
}) *pool.Checkout {
	t.Helper()
	co := checkout(t, p)
	warm(t, co)
	if _, _, ok := laneMapping(fmt.Sprint(co.Pid())); !ok || p.Stat().SharedMemory == 0 {
		t.Fatalf("worker %d shares no memory: %+v", co.Pid(), p.Stat())
	}
	return co
}
