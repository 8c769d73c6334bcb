package lane

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// stream copies what copy does, wherever it begins and ends, and touches nothing else.
func TestStreamCopies(t *testing.T) {
	t.Parallel()
	const room = 1200
	rng := rand.New(rand.NewPCG(1, 2))
	src := make([]byte, room)
	for i := range src {
		src[i] = byte(rng.Uint32())
	}
	for size := range 600 {
		for range 16 {
			from, to := rng.IntN(128), rng.IntN(128)
			want, got := bytes.Repeat([]byte{0xee}, room), bytes.Repeat([]byte{0xee}, room)
			copy(want[to:to+size], src[from:])
			if n := stream(got[to:to+size], src[from:]); n != size || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes from %d to %d: %d were copied", size, from, to, n)
			}
			if n := stream(got[to:], src[from:from+size]); n != size || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes from %d to %d, whose source ends: %d were copied", size, from, to, n)
			}
		}
	}
}
