package tail_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/bullpen-go/bullpen/internal/tail"
)

// text returns n bytes that don't repeat within a kilobyte or so.
func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func TestBothEndsAreKept(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, tail.Size - 1, tail.Size, tail.Size + 1, 2*tail.Size - 1, 2 * tail.Size, 2*tail.Size + 1,
		3 * tail.Size, 10*tail.Size + 123} {
		for _, piece := range []int{1, 100, tail.Size - 1, tail.Size, tail.Size + 1, 100_000} {
			all := text(size)
			var b tail.Buffer
			for rest := all; len(rest) > 0; {
				n := min(piece, len(rest))
				if k, err := b.Write(rest[:n]); k != n || err != nil {
					t.Fatalf("Write of %d bytes returned %d, %v", n, k, err)
				}
				rest = rest[n:]
			}
			head, end, skipped, dump := b.Ends()
			wantHead := all[:min(size, tail.Size)]
			wantEnd := all[max(len(wantHead), size-tail.Size):]
			if !bytes.Equal(head, wantHead) || !bytes.Equal(end, wantEnd) || len(dump) != 0 {
				t.Errorf("%d bytes in pieces of %d: kept %d and %d", size, piece, len(head), len(end))
			}
			if want := int64(size - len(wantHead) - len(wantEnd)); skipped != want {
				t.Errorf("%d bytes in pieces of %d: %d skipped instead of %d", size, piece, skipped, want)
			}
		}
	}
}

func TestWhatEndsReturnsIsTheCallers(t *testing.T) {
	t.Parallel()
	var b tail.Buffer
	b.Write([]byte(strings.Repeat("a", 2*tail.Size)))
	head, end, _, _ := b.Ends()
	b.Write([]byte(strings.Repeat("b", 2*tail.Size)))
	if bytes.Contains(head, []byte("b")) || bytes.Contains(end, []byte("b")) {
		t.Error("a later Write changed what Ends had returned")
	}
}

func TestDumpIsKeptApart(t *testing.T) {
	t.Parallel()
	var b tail.Buffer
	b.Write([]byte("before"))
	b.StartDump()
	b.Write([]byte("goroutine 1"))
	b.Write([]byte(" [running]"))
	head, end, skipped, dump := b.Ends()
	if string(head) != "before" || len(end) != 0 || skipped != 0 || string(dump) != "goroutine 1 [running]" {
		t.Errorf("head %q, tail %q, %d skipped, dump %q", head, end, skipped, dump)
	}
}

func TestLongDumpIsCut(t *testing.T) {
	t.Parallel()
	var b tail.Buffer
	b.Write([]byte("before"))
	b.StartDump()
	all := text(1 << 20)
	for rest := all; len(rest) > 0; rest = rest[min(len(rest), 5000):] {
		b.Write(rest[:min(len(rest), 5000)])
	}
	head, end, skipped, dump := b.Ends()
	if len(dump) != 256<<10 || !bytes.Equal(dump, all[:len(dump)]) {
		t.Errorf("a dump of %d bytes", len(dump))
	}
	if string(head) != "before" || len(end) != 0 || skipped != 0 {
		t.Errorf("the dump shows in the rest: head %q, tail %q, %d skipped", head, end, skipped)
	}
}

func TestSeveralWriters(t *testing.T) {
	t.Parallel()
	var b tail.Buffer
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				b.Write([]byte("0123456789"))
				b.Ends()
			}
		})
	}
	all.Wait()
	head, end, skipped, _ := b.Ends()
	if total := int64(len(head)+len(end)) + skipped; total != 80_000 {
		t.Errorf("%d bytes of 80000", total)
	}
}
