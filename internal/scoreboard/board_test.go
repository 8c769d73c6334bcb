//go:build linux || darwin

package scoreboard_test

import (
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/scoreboard"
)

func newBoard(t *testing.T) *scoreboard.Board {
	t.Helper()
	b, err := scoreboard.New("service", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func take(t *testing.T, b *scoreboard.Board) (*scoreboard.Slot, int) {
	t.Helper()
	s, i, err := b.Take()
	if err != nil {
		t.Fatal(err)
	}
	return s, i
}

func TestSlotsDoNotOverlap(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	const n = 40
	slots := make([]*scoreboard.Slot, n)
	for i := range slots {
		var no int
		if slots[i], no = take(t, b); no != i {
			t.Fatalf("slot %d has number %d", i, no)
		}
		slots[i].AppendLog(make([]byte, scoreboard.SlotSize-4<<10-4)) // to its last byte
		slots[i].Enter(scoreboard.Running, int64(i))
	}
	for i, s := range slots {
		if f := s.Read(); f.Since != int64(i) || f.State != scoreboard.Running || len(s.Log()) != 1 {
			t.Errorf("slot %d shows %+v", i, f)
		}
	}
}

func TestGivenSlotIsTakenAgainAndEmpty(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	take(t, b)
	s, no := take(t, b)
	s.Enter(scoreboard.Hook, 5)
	s.SetMethod("x")
	s.CountCall(true, 3, 4)
	s.CountCheckout()
	s.Watch(true)
	s.AppendLog([]byte("x"))
	b.Give(no)
	again, same := take(t, b)
	if again != s || same != no {
		t.Errorf("slot %d came instead of %d", same, no)
	}
	if f := again.Read(); f != (scoreboard.Figures{}) || len(again.Log()) != 0 || again.Enter(scoreboard.Starting, 1) {
		t.Errorf("it shows what was: %+v", f)
	}
}

// Worker and server map the same slot, in two processes; here they are two mappings.
func TestMappingsShareTheSlot(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	take(t, b)
	server, no := take(t, b)
	worker, err := scoreboard.Map(b.File(), no)
	if err != nil {
		t.Fatal(err)
	}
	if worker == server {
		t.Fatal("it is one mapping")
	}
	server.Watch(true)
	worker.SetMethod("shared")
	if !worker.Enter(scoreboard.Running, 7) {
		t.Error("the worker doesn't see the server's Watch")
	}
	if f := server.Read(); f.State != scoreboard.Running || f.Since != 7 || f.Method != "shared" {
		t.Errorf("the server sees %+v", f)
	}
}

func TestSlotsAreReadWhileTheyAreGivenBack(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	s, _ := take(t, b)
	done := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				s.Read()
				s.Busy()
				s.Watch(true)
			}
		}
	})
	for range 1000 {
		b.Give(0)
		slot, _ := take(t, b)
		slot.Enter(scoreboard.Starting, 1)
	}
	close(done)
	reader.Wait()
}

// A worker may write anything into its slot. Readers must survive it.
func TestHostileSlot(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	s, _ := take(t, b)
	mem, err := unix.Mmap(int(b.File().Fd()), 0, scoreboard.SlotSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	for _, fill := range []byte{0xff, 0x7f, 0x01, 0x00} {
		for i := range mem {
			mem[i] = fill
		}
		s.Read()
		s.Log()
		_ = s.Read().State.String()
	}
	// A plausible size of all records, and one record that claims to be longer.
	s.AppendLog(make([]byte, 100))
	const logOffset = 4 << 10
	*(*uint32)(unsafe.Pointer(&mem[logOffset])) = 1 << 31
	if recs := s.Log(); len(recs) != 0 {
		t.Errorf("%d records out of nothing", len(recs))
	}
}
