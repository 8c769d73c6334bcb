// Package tail keeps the head and the tail of a stream of unknown length in bounded memory.
package tail

import "sync"

// Size is how much is kept of either end, in bytes. The headline of a Go crash comes first, the frames that matter
// to a C library's last words come last.
const Size = 4 << 10

// dumpSize bounds a goroutine dump.
const dumpSize = 256 << 10

// Buffer is an io.Writer that keeps the first and the last Size bytes written to it. The zero Buffer is ready. It may
// be used by several goroutines.
type Buffer struct {
	mu    sync.Mutex // guards all below
	head  []byte
	ring  []byte // the last bytes after head, oldest at next once it is full
	next  int
	total int64 // without the dump
	dump  []byte
	dumps bool
}

// Write keeps what it must. It never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(p)
	if b.dumps {
		b.dump = append(b.dump, p[:min(len(p), dumpSize-len(b.dump))]...)
		return n, nil
	}
	b.total += int64(n)
	if room := Size - len(b.head); room > 0 {
		k := min(room, len(p))
		b.head = append(b.head, p[:k]...)
		p = p[k:]
	}
	if len(p) > Size {
		p = p[len(p)-Size:]
	}
	for len(p) > 0 {
		if len(b.ring) < Size {
			k := min(Size-len(b.ring), len(p))
			b.ring = append(b.ring, p[:k]...)
			p = p[k:]
			continue
		}
		k := copy(b.ring[b.next:], p)
		b.next = (b.next + k) % Size
		p = p[k:]
	}
	return n, nil
}

// StartDump has all that is written from now on kept as a dump instead, up to 256 KiB.
func (b *Buffer) StartDump() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dumps = true
}

// Ends returns the head, the tail, how many bytes lie between them, and the dump.
func (b *Buffer) Ends() (head, tail []byte, skipped int64, dump []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	head = append([]byte(nil), b.head...)
	tail = append(append([]byte(nil), b.ring[b.next:]...), b.ring[:b.next]...)
	dump = append([]byte(nil), b.dump...)
	return head, tail, b.total - int64(len(head)+len(tail)), dump
}
