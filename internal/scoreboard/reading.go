package scoreboard

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unsafe"
)

// Reading is what a roster and its slots show at one moment. It is read from the files, not from mapped memory: nobody is
// woken, and whatever somebody does to a file, reading it fails at worst.
type Reading struct {
	Service string
	Server  int // its pid
	App     int // or 0: the server is the app
	Uptime  time.Duration
	Workers []WorkerReading // in the order of their numbers

	Slots, Asks uint64 // the inodes of the files that belong to the roster
}

// WorkerReading is a worker's part. Slot, Number, Pid, Age and Owner are the server's word, the rest is the worker's own:
// bounded, and printable, but perhaps not true.
type WorkerReading struct {
	Slot   int
	Number int
	Pid    int
	Age    time.Duration // of its process
	Owner  Owner
	Figures
	For time.Duration // how long it is in its state; 0 if it is idle
}

// ErrLayout says that a file is not a roster as this version writes it.
var ErrLayout = errors.New("it was not made by this version of bullpen")

// Read reads a board.
func Read(roster, slots io.ReaderAt) (*Reading, error) {
	now := Now() // for all of it
	r, used, err := readHead(roster, now)
	if err != nil || used == 0 {
		return r, err
	}
	entries := make([]entry, used)
	if err := readEntries(roster, entries, 0); err != nil {
		return nil, fmt.Errorf("scoreboard: %w", err)
	}
	for i := range entries {
		if entries[i].number.Load() == 0 {
			continue
		}
		w, err := readWorker(roster, slots, i, &entries[i], now)
		if err != nil {
			return nil, fmt.Errorf("scoreboard: %w", err)
		}
		if w != nil {
			r.Workers = append(r.Workers, *w)
		}
	}
	slices.SortFunc(r.Workers, func(a, b WorkerReading) int { return cmp.Compare(a.Number, b.Number) })
	return r, nil
}

// ReadHead reads what a roster says of its server; Workers is empty.
func ReadHead(roster io.ReaderAt) (*Reading, error) {
	r, _, err := readHead(roster, Now())
	return r, err
}

func readHead(roster io.ReaderAt, now int64) (r *Reading, used int, err error) {
	var h head
	if err := readInto(roster, 0, unsafe.Slice((*byte)(unsafe.Pointer(&h)), headSize)); err != nil {
		return nil, 0, fmt.Errorf("scoreboard: %w", err)
	}
	if h.magic != magic {
		return nil, 0, fmt.Errorf("scoreboard: %w", ErrLayout)
	}
	r = &Reading{Service: Printable(string(h.name[:min(h.nameLen, maxName)])), Server: int(h.server), App: int(h.app),
		Uptime: time.Duration(max(now-h.started, 0)), Slots: h.slots, Asks: h.asks}
	return r, int(min(h.used.Load(), maxSlots)), nil
}

// Still reports whether slot i is still the worker's with that number. As long as it is, its pid is no other process's.
func Still(roster io.ReaderAt, i, number int) bool {
	var e [1]entry
	return i >= 0 && i < maxSlots && readEntries(roster, e[:], i) == nil && e[0].number.Load() == uint64(number)
}

// readWorker reads slot i, whose entry was e. It returns nil if the worker has ended meanwhile.
func readWorker(roster, slots io.ReaderAt, i int, e *entry, now int64) (*WorkerReading, error) {
	w := &WorkerReading{Slot: i, Number: int(e.number.Load()), Pid: int(e.pid.Load()), Owner: Owner(e.owner.Load())}
	f, err := readFigures(slots, i)
	if err != nil {
		return nil, err
	}
	if !Still(roster, i, w.Number) {
		return nil, nil
	}
	w.Age = time.Duration(max(now-e.started.Load(), 0))
	w.Figures = f
	w.Method = ""
	switch f.State {
	case Running, Hook:
		w.Method = Printable(f.Method)
		fallthrough
	case Starting, SettingUp:
		w.For = min(max(time.Duration(now-f.Since), 0), w.Age)
		if f.Since > now {
			w.For = 0
		}
	}
	return w, nil
}

// readFigures reads a slot. The worker may be writing: until two readings in a row show the same call, they are tried
// again, a few times. A hostile worker gets what it deserves, a mixture.
func readFigures(slots io.ReaderAt, i int) (Figures, error) {
	var copies [2]figures
	var last Figures
	for try := range 4 {
		c := &copies[try%2]
		if err := readInto(slots, int64(i)*SlotSize, unsafe.Slice((*byte)(unsafe.Pointer(c)), unsafe.Sizeof(*c))); err != nil {
			return Figures{}, err
		}
		f := c.Read()
		if try > 0 && f == last {
			return f, nil
		}
		last = f
	}
	return last, nil
}

func readEntries(roster io.ReaderAt, into []entry, from int) error {
	b := unsafe.Slice((*byte)(unsafe.Pointer(&into[0])), len(into)*entrySize)
	return readInto(roster, headSize+int64(from)*entrySize, b)
}

// readInto fills b. What lies behind the file's end is an error.
func readInto(r io.ReaderAt, at int64, b []byte) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Printable returns text that may come from anybody so that a terminal or a page can show it: valid UTF-8 in which each
// character that isn't printable is a question mark.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
