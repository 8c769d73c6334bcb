//go:build amd64 && !race

package lane

import "unsafe"

const cacheLine = 64

// stream is copy by stores that go past the caches. A store into the ring would otherwise first fetch the line from the core
// that has read it last, which takes a core on another chip 26 ns a line, and one into fresh memory would fetch what it then
// overwrites. What comes after stream is stored after it.
func stream(dst, src []byte) int {
	n := min(len(dst), len(src))
	if n < 2*cacheLine {
		return copy(dst, src)
	}
	head := int(-uintptr(unsafe.Pointer(&dst[0])) % cacheLine)
	lines := (n - head) &^ (cacheLine - 1)
	copy(dst[:head], src)
	streamLines(&dst[head], &src[head], lines)
	copy(dst[head+lines:n], src[head+lines:n])
	return n
}

// streamLines copies n bytes, a multiple of a cache line and not 0, to dst, which begins with a line.
//
//go:noescape
func streamLines(dst, src *byte, n int)
