//go:build amd64 || arm64

package lane

// pause tells the core that this is a loop that waits for another core. It takes some ten ns.
func pause()
