//go:build !linux

package lane

import (
	"errors"
	"fmt"
	"runtime"
)

// Supported says whether this system has such memory.
const Supported = false

// Create returns an error that is errors.ErrUnsupported: this system has no memory that can be sealed.
func Create(ring int) (*Memory, error) {
	if err := checkRing(ring); err != nil {
		return nil, fmt.Errorf("shared memory: %w", err)
	}
	return nil, fmt.Errorf("shared memory: %w", errors.ErrUnsupported)
}

// Open returns an error that is errors.ErrUnsupported.
func Open(fd int) (*Memory, error) {
	return nil, fmt.Errorf("shared memory: %w", errors.ErrUnsupported)
}

func free([]byte) error { return errors.ErrUnsupported }

func yieldCore() { runtime.Gosched() }
