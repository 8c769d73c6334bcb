package scoreboard

import (
	"sync/atomic"
	"unsafe"
)

// The kinds of files, by which they are found under /proc/PID/fd. Slots is written by workers, Roster by the server
// alone, Asks by whoever may open it, and Pool by a pool in the app.
const (
	Slots  = "bullpen-scoreboard"
	Roster = "bullpen-roster"
	Asks   = "bullpen-asks"
	Pool   = "bullpen-pool"
)

// The roster says whose the slots are: which of them is which process's. Workers have no access to its file, so that it
// can be trusted as far as the server can. It has a fixed size, of which pages that nobody has touched take no memory.
const (
	maxSlots   = 1 << 14 // workers with a higher slot run unseen
	headSize   = 512
	entrySize  = 64
	rosterSize = headSize + maxSlots*entrySize
	asksSize   = maxSlots * 8
	magic      = 0x62756c6c70656e31 // "bullpen1": of this layout, of slots as well
	maxName    = 128
)

// Owner says who has a worker.
type Owner uint32

const (
	Nobody    Owner = iota // a standby, or a worker that is being made
	App                    // a pool of the server's app, which can be asked to give it back
	Elsewhere              // a client in another program
)

// head is the beginning of the roster.
type head struct {
	magic   uint64
	started int64  // monotonic ns
	slots   uint64 // the inode of the slots' file
	asks    uint64 // and of the asks'
	server  int32
	app     int32 // 0: the server is the app
	nameLen uint32
	name    [maxName]byte
	used    atomic.Uint32 // how many slots there are
	_       [headSize - 44 - maxName - 4]byte
}

// entry is a slot's.
type entry struct {
	number  atomic.Uint64 // the worker's, counted by its server; 0: nobody has the slot. Written last, and cleared first
	pid     atomic.Int64
	started atomic.Int64 // monotonic ns
	owner   atomic.Uint32
	_       [entrySize - 28]byte
}

// table is the whole of it.
type table struct {
	head
	entries [maxSlots]entry
}

// asks has for each slot the number of the worker that somebody wants to be retired, or 0.
type asks [maxSlots]atomic.Uint64

var (
	_ [headSize]byte   = [unsafe.Sizeof(head{})]byte{}
	_ [entrySize]byte  = [unsafe.Sizeof(entry{})]byte{}
	_ [rosterSize]byte = [unsafe.Sizeof(table{})]byte{}
	_ [asksSize]byte   = [unsafe.Sizeof(asks{})]byte{}
)
