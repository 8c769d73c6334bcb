//go:build !amd64 && !arm64

package lane

// pause does nothing: a loop that waits for another core turns as fast as it can.
func pause() {}
