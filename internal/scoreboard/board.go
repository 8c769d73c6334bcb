//go:build linux || darwin

package scoreboard

import (
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Board is the server's view: the file and the slots in it.
type Board struct {
	file *os.File

	mu    sync.Mutex // guards all below
	slots []*Slot    // by number; mapped once and for all
	free  []int
}

// New makes an empty board in a file without a name.
func New() (*Board, error) {
	f, err := anonymousFile()
	if err != nil {
		return nil, fmt.Errorf("scoreboard: %w", err)
	}
	return &Board{file: f}, nil
}

// File returns the file that the slots lie in.
func (b *Board) File() *os.File { return b.file }

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
	return s, i, nil
}

// Give returns a slot whose worker is dead.
func (b *Board) Give(i int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slots[i].reset()
	b.free = append(b.free, i)
}

// Close closes the file. The slots stay mapped: somebody may still look.
func (b *Board) Close() error { return b.file.Close() }

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
