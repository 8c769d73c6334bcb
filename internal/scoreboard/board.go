//go:build linux || darwin

package scoreboard

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Board is the server's view: the files, and the slots and the roster in them.
type Board struct {
	file   *os.File
	roster *os.File
	asks   *os.File
	table  *table
	wanted *asks

	mu    sync.Mutex // guards all below
	slots []*Slot    // by number; mapped once and for all
	free  []int
}

// New makes an empty board in files without names, for the server of a service. app is the pid of its app, or 0 if the
// server is that itself.
func New(service string, app int) (*Board, error) {
	b := &Board{}
	var err error
	if b.file, err = anonymousFile(Slots); err == nil {
		if b.roster, err = anonymousFile(Roster); err == nil {
			b.asks, err = anonymousFile(Asks)
		}
	}
	var mem, wanted []byte
	if err == nil {
		mem, err = mapNew(b.roster, rosterSize)
	}
	if err == nil {
		wanted, err = mapNew(b.asks, asksSize)
	}
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("scoreboard: %w", err)
	}
	seal(b.roster)
	b.table, b.wanted = (*table)(unsafe.Pointer(&mem[0])), (*asks)(unsafe.Pointer(&wanted[0]))
	h := &b.table.head
	h.started, h.server, h.app = Now(), int32(os.Getpid()), int32(app)
	h.slots, h.asks = Inode(b.file), Inode(b.asks)
	h.nameLen = uint32(copy(h.name[:], service))
	h.magic = magic
	return b, nil
}

// mapNew maps a new file that gets the size.
func mapNew(f *os.File, size int) ([]byte, error) {
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	return unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// Inode tells a file from all others of its kind. It is 0 if the system doesn't tell.
func Inode(f *os.File) uint64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return st.Ino
}

// File returns the file that the slots lie in.
func (b *Board) File() *os.File { return b.file }

// Roster returns the roster's file, which no worker may get.
func (b *Board) Roster() *os.File { return b.roster }

// Take returns a cleared slot and its number.
func (b *Board) Take() (*Slot, int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.free); n > 0 {
		i := b.free[n-1]
		b.free = b.free[:n-1]
		return b.slots[i], i, nil
	}
	i := len(b.slots)
	if err := b.file.Truncate(int64(i+1) * SlotSize); err != nil { // a mapped file only ever grows
		return nil, 0, fmt.Errorf("scoreboard: %w", err)
	}
	s, err := Map(b.file, i)
	if err != nil {
		return nil, 0, err
	}
	b.slots = append(b.slots, s)
	b.table.used.Store(uint32(min(len(b.slots), maxSlots)))
	return s, i, nil
}

// Enlist notes the worker that has slot i: its number, which is never 0, and its process.
func (b *Board) Enlist(i, number, pid int) {
	if i >= maxSlots {
		return
	}
	e := &b.table.entries[i]
	e.pid.Store(int64(pid))
	e.started.Store(Now())
	e.owner.Store(uint32(Nobody))
	e.number.Store(uint64(number))
}

// SetOwner notes who has the worker with that number, which has slot i, or had it.
func (b *Board) SetOwner(i, number int, o Owner) {
	if i < maxSlots && b.table.entries[i].number.Load() == uint64(number) {
		b.table.entries[i].owner.Store(uint32(o))
	}
}

// Discharge takes the worker of slot i off the roster. It must come before the pid can be another process's.
func (b *Board) Discharge(i int) {
	if i < maxSlots {
		b.table.entries[i].number.Store(0)
	}
}

// Ask notes that somebody wants the worker with that number, which has slot i, to be retired.
func (b *Board) Ask(i, number int) { b.wanted[i].Store(uint64(number)) }

// Wanted calls retire with the slot and the number of each worker that somebody wants to be retired.
func (b *Board) Wanted(retire func(number int)) {
	for i := range b.table.used.Load() {
		if n := b.wanted[i].Swap(0); n != 0 && n == b.table.entries[i].number.Load() {
			retire(int(n))
		}
	}
}

// Give returns a slot whose worker is dead.
func (b *Board) Give(i int) {
	b.Discharge(i) // before the slot shows another one's figures
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slots[i].reset()
	b.free = append(b.free, i)
}

// Close closes the files. What is mapped stays so: somebody may still look.
func (b *Board) Close() error {
	b.roster.Close()
	b.asks.Close()
	return b.file.Close()
}

// Map maps slot number i of a board's file.
func Map(f *os.File, i int) (*Slot, error) {
	mem, err := unix.Mmap(int(f.Fd()), int64(i)*SlotSize, SlotSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("scoreboard: map slot %d: %w", i, err)
	}
	return (*Slot)(unsafe.Pointer(&mem[0])), nil
}

// monotonic reads the clock that all processes share.
func monotonic() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return ts.Nano()
}
