package server

import (
	"fmt"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// limitMemory limits the memory for this process's data. RLIMIT_AS would count the address space that Go's runtime
// reserves and never uses.
func limitMemory(n int64) error {
	if n <= 0 {
		return nil
	}
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: uint64(n), Max: uint64(n)}); err != nil {
		return fmt.Errorf("MaxMemory: %w", err)
	}
	debug.SetMemoryLimit(n / 10 * 9)
	return nil
}
