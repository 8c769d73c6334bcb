//go:build linux || darwin

package scoreboard_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"unicode/utf8"

	"github.com/bullpen-go/bullpen/internal/scoreboard"
)

func read(t *testing.T, b *scoreboard.Board) *scoreboard.Reading {
	t.Helper()
	r, err := scoreboard.Read(b.Roster(), b.File())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReadingShowsWhoIsOnTheRoster(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	if r := read(t, b); r.Service != "service" || r.Server != os.Getpid() || r.App != 0 || len(r.Workers) != 0 {
		t.Errorf("an empty board shows %+v", r)
	}
	first, i := take(t, b)
	second, j := take(t, b)
	take(t, b) // nobody's
	b.Enlist(i, 9, 100)
	b.Enlist(j, 8, 200)
	b.SetOwner(j, 8, scoreboard.App)
	b.SetOwner(i, 7, scoreboard.App) // of one that had the slot before
	first.SetMethod("hash")
	first.Enter(scoreboard.Running, scoreboard.Now())
	first.CountCall(true, 10, 20)
	second.SetMethod("before")
	second.Rest()
	r := read(t, b)
	if len(r.Workers) != 2 {
		t.Fatalf("%+v", r.Workers)
	}
	w := r.Workers[1]
	if w.Number != 9 || w.Pid != 100 || w.Owner != scoreboard.Nobody || w.Method != "hash" || w.Calls != 1 || w.Errors != 1 ||
		w.BytesIn != 10 || w.BytesOut != 20 || w.For < 0 || w.For > w.Age {
		t.Errorf("%+v", w)
	}
	if w := r.Workers[0]; w.Number != 8 || w.Pid != 200 || w.Owner != scoreboard.App || w.Method != "" || w.For != 0 {
		t.Errorf("%+v", w)
	}
	if !scoreboard.Still(b.Roster(), i, 9) || scoreboard.Still(b.Roster(), i, 8) || scoreboard.Still(b.Roster(), -1, 9) {
		t.Error("Still is wrong")
	}
	b.Give(i)
	if r := read(t, b); len(r.Workers) != 1 || scoreboard.Still(b.Roster(), i, 9) {
		t.Errorf("a worker that has ended is shown: %+v", r.Workers)
	}
}

// Whatever is in the files, reading them ends with a reading or with an error.
func TestReadingOfGarbageIsHarmless(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	slot, i := take(t, b)
	slot.Rest()
	b.Enlist(i, 1, 2)
	roster, err := io.ReadAll(io.NewSectionReader(b.Roster(), 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	slots := bytes.Repeat([]byte{0xff}, scoreboard.SlotSize)
	for n := 0; n < len(roster); n += 1 + n/8 { // cut
		r, err := scoreboard.Read(bytes.NewReader(roster[:n]), bytes.NewReader(slots))
		if err == nil && len(r.Workers) > 1 {
			t.Errorf("%d bytes: %+v", n, r)
		}
	}
	for n := 8; n < 600; n++ { // spoiled, but for the magic number
		spoiled := bytes.Clone(roster)
		spoiled[n] ^= 0xff
		scoreboard.Read(bytes.NewReader(spoiled), bytes.NewReader(slots))
	}
	spoiled := bytes.Clone(roster)
	spoiled[0] ^= 1
	if _, err := scoreboard.Read(bytes.NewReader(spoiled), bytes.NewReader(slots)); !errors.Is(err, scoreboard.ErrLayout) {
		t.Errorf("another layout: %v", err)
	}
	if _, err := scoreboard.Read(b.Roster(), bytes.NewReader(slots[:100])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a slot: %v", err)
	}
	r, err := scoreboard.Read(b.Roster(), bytes.NewReader(slots))
	if err != nil || r.Workers[0].State.String() != "unknown" || r.Workers[0].Method != "" || r.Workers[0].For != 0 {
		t.Errorf("%v: %+v", err, r)
	}
}

func TestWantedTellsWhoIsStillThere(t *testing.T) {
	t.Parallel()
	b := newBoard(t)
	_, i := take(t, b)
	_, j := take(t, b)
	b.Enlist(i, 5, 100)
	b.Enlist(j, 6, 200)
	b.Ask(i, 5)
	b.Ask(j, 4) // it had the slot before
	for _, want := range [][]int{{5}, nil} {
		var got []int
		b.Wanted(func(n int) { got = append(got, n) })
		if len(got) != len(want) || len(got) > 0 && got[0] != 5 {
			t.Errorf("%v instead of %v", got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[2J", "\xff\xfe", "日本\u202e\u00a0", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := scoreboard.Printable(s)
		if !utf8.ValidString(p) || scoreboard.Printable(p) != p || bytes.ContainsAny([]byte(p), "\x00\x1b\u202e\ufffd\n") {
			t.Errorf("%q became %q", s, p)
		}
	})
}
