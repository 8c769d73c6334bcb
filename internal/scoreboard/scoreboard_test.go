package scoreboard_test

import (
	"bytes"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/scoreboard"
)

func TestSlotShowsWhatItsWorkerDoes(t *testing.T) {
	t.Parallel()
	s := scoreboard.Local()
	if f := s.Read(); f != (scoreboard.Figures{}) || s.Busy() {
		t.Errorf("a new slot shows %+v", f)
	}
	before := scoreboard.Now()
	s.SetMethod("resize")
	s.Enter(scoreboard.Running, scoreboard.Now())
	f := s.Read()
	if f.State != scoreboard.Running || f.Method != "resize" || f.Since < before || f.Since > scoreboard.Now() || !s.Busy() {
		t.Errorf("a running slot shows %+v", f)
	}
	s.CountCall(false, 10, 20)
	s.CountCall(true, 30, 40)
	s.CountCheckout()
	s.Rest()
	f = s.Read()
	if f.State != scoreboard.Idle || f.Calls != 2 || f.Errors != 1 || f.Checkouts != 1 || f.BytesIn != 30 || f.BytesOut != 40 || s.Busy() {
		t.Errorf("an idle slot shows %+v", f)
	}
}

func TestBusyStates(t *testing.T) {
	t.Parallel()
	s := scoreboard.Local()
	for st, busy := range map[scoreboard.State]bool{scoreboard.Starting: true, scoreboard.SettingUp: true,
		scoreboard.Running: true, scoreboard.Hook: true, scoreboard.Idle: false, scoreboard.Free: false} {
		s.Enter(st, 1)
		if s.Busy() != busy {
			t.Errorf("%v: busy is %v", st, s.Busy())
		}
		if st.String() == "unknown" {
			t.Errorf("state %d has no name", st)
		}
	}
	if scoreboard.State(99).String() != "unknown" {
		t.Error("an unknown state has a name")
	}
}

func TestLongMethodIsCut(t *testing.T) {
	t.Parallel()
	s := scoreboard.Local()
	long := strings.Repeat("method", 100)
	s.SetMethod(long)
	if got := s.Read().Method; got != long[:128] {
		t.Errorf("%q", got)
	}
	s.SetMethod("")
	if got := s.Read().Method; got != "" {
		t.Errorf("%q after an empty name", got)
	}
}

func TestClockAdvances(t *testing.T) {
	t.Parallel()
	a, start := scoreboard.Now(), time.Now()
	for time.Since(start) < time.Millisecond {
	}
	if d := time.Duration(scoreboard.Now() - a); d < time.Millisecond || d > time.Minute {
		t.Errorf("a millisecond took %v", d)
	}
}

func TestLogRecordsAreKept(t *testing.T) {
	t.Parallel()
	s := scoreboard.Local()
	want := [][]byte{[]byte("one"), {}, bytes.Repeat([]byte("x"), 30_000)}
	for _, rec := range want {
		if !s.AppendLog(rec) {
			t.Fatalf("no room for %d bytes", len(rec))
		}
	}
	if s.AppendLog(make([]byte, scoreboard.SlotSize/2)) {
		t.Error("a record was taken that there is no room for")
	}
	got := s.Log()
	if len(got) != len(want) {
		t.Fatalf("%d records instead of %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("record %d has %d bytes instead of %d", i, len(got[i]), len(want[i]))
		}
	}
	s.ResetLog()
	if len(s.Log()) != 0 || !s.AppendLog([]byte("next")) || len(s.Log()) != 1 {
		t.Error("ResetLog did not forget the records")
	}
}

func TestLogIsFilledToItsLastByte(t *testing.T) {
	t.Parallel()
	s := scoreboard.Local()
	n := 0
	for s.AppendLog(make([]byte, 100)) {
		n++
	}
	if n < 500 || len(s.Log()) != n {
		t.Errorf("%d records went in, %d came out", n, len(s.Log()))
	}
	if s.AppendLog(make([]byte, scoreboard.SlotSize)) {
		t.Error("a record larger than the slot was taken")
	}
}

// The watch's protocol: who goes to sleep asks first and looks then, the worker begins first and looks then. So of each
// call that the worker begins, either the watch sees it before it sleeps, or the worker wakes it.
func TestNoWakeUpIsLost(t *testing.T) {
	t.Parallel()
	s := scoreboard.Local()
	alone := runtime.GOMAXPROCS(0) == 1
	var last atomic.Int64 // the last call that the watch has seen
	seen, wakes, quit := make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{})
	post := func(c chan struct{}) {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	go func() { // the watch
		for {
			s.Watch(true)
			if !s.Busy() {
				select {
				case <-wakes:
				case <-quit:
					return
				}
			}
			s.Watch(false)
			if s.Busy() {
				last.Store(s.Read().Since)
				post(seen)
				if alone {
					runtime.Gosched() // else this goes on for as long as the scheduler lets it
				}
			}
		}
	}()
	defer close(quit)
	const patience = 20 * time.Second // for one call
	late := time.NewTimer(patience)
	defer late.Stop()
	begin := time.Now()
	// The worker: each call lasts until the watch has seen it. On a busy machine there are fewer.
	for i := int64(0); i < 10_000 && time.Since(begin) < patience; i++ {
		late.Reset(patience)
		if s.Enter(scoreboard.Running, i+1) {
			post(wakes)
		}
		for n := 0; last.Load() != i+1; n++ {
			if n < 500 {
				continue // a short wait leaves both running, which is when they can miss each other
			}
			select {
			case <-seen:
			case <-late.C:
				t.Fatalf("the watch sleeps through call %d", i)
			}
		}
		s.Rest()
		for range i % 64 { // the watch gets a different head start each time
			s.Busy()
		}
	}
}

func TestWorkerWakesTheWatchOnce(t *testing.T) {
	t.Parallel()
	s := scoreboard.Local()
	if s.Enter(scoreboard.Running, 1) {
		t.Error("a wake-up that nobody asked for")
	}
	s.Rest()
	s.Watch(true)
	if !s.Enter(scoreboard.Running, 2) {
		t.Error("no wake-up")
	}
	if s.Enter(scoreboard.Running, 3) {
		t.Error("a second wake-up")
	}
	s.Watch(true)
	s.Watch(false)
	if s.Enter(scoreboard.Running, 4) {
		t.Error("a wake-up that was called off")
	}
}
