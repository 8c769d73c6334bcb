package scoreboard

import (
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"time"
	"unsafe"
)

// Page is where a pool keeps what it counts, so that others can see it who can open its file: nobody is asked, and the pool
// does nothing for them. Figures are written under the pool's lock, by one at a time, and each of them alone is what it was
// at some moment; together they may be a moment apart.
type Page struct {
	magic   uint64
	started int64 // monotonic ns
	nameLen uint32
	name    [maxName]byte
	_       [64 - (20+maxName)%64]byte

	PoolFigures
	_ [128 - unsafe.Sizeof(PoolFigures{})%128]byte

	Wait Durations // of those who were in the queue
	Run  Durations // of calls
}

// PoolFigures are what a pool does. Read by others they are as true as the app that has written them.
type PoolFigures struct {
	Max, Total, Idle, Connecting int64 // workers
	Waiting                      int64 // checkouts in the queue
	Checkouts, Waited            int64 // so far
	Canceled, Timeouts, Refused  int64
	Connects, Failures           int64
	Served                       int64 // of Waited, those that got a worker
}

// Buckets is how many there are in a histogram.
const Buckets = 9*6 + 2

// Durations counts durations, in the buckets of package pool's histogram.
type Durations struct {
	Counts [Buckets]atomic.Int64
	Sum    atomic.Int64 // ns
}

// Bounds are the buckets' upper bounds.
var Bounds = func() (b [Buckets]time.Duration) {
	unit := time.Microsecond / 10
	for i := range Buckets - 1 {
		b[i] = unit * time.Duration([]int{10, 15, 20, 30, 50, 70}[i%6])
		if i%6 == 5 {
			unit *= 10
		}
	}
	b[Buckets-1] = math.MaxInt64
	return b
}()

// PoolReading is what a page shows.
type PoolReading struct {
	Name   string
	Began  int64 // on the clock of Now; tells a pool from another one of its name
	Uptime time.Duration
	PoolFigures
	Wait, Run DurationsReading
}

// DurationsReading is a histogram as a page shows it.
type DurationsReading struct {
	Counts [Buckets]int64
	Sum    time.Duration
}

// ReadPage reads a pool's page.
func ReadPage(r io.ReaderAt) (*PoolReading, error) {
	p := new(Page)
	if err := readInto(r, 0, unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))); err != nil {
		return nil, fmt.Errorf("scoreboard: %w", err)
	}
	if p.magic != magic {
		return nil, fmt.Errorf("scoreboard: %w", ErrLayout)
	}
	return &PoolReading{Name: Printable(string(p.name[:min(p.nameLen, maxName)])), Began: p.started, Uptime: time.Duration(max(Now()-p.started, 0)),
		PoolFigures: p.PoolFigures, Wait: p.Wait.read(), Run: p.Run.read()}, nil
}

func (d *Durations) read() (r DurationsReading) {
	for i := range d.Counts {
		r.Counts[i] = d.Counts[i].Load()
	}
	r.Sum = time.Duration(d.Sum.Load())
	return r
}

func (p *Page) begin(name string) {
	p.started = Now()
	p.nameLen = uint32(copy(p.name[:], name))
	p.magic = magic
}
