//go:build !amd64 || race

package lane

// stream is copy. The race detector sees no other way to store.
func stream(dst, src []byte) int { return copy(dst, src) }
