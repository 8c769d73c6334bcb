//go:build unix

package pool

import (
	"os"

	"golang.org/x/sys/unix"
)

// rightsOf returns the control message that sends f.
func rightsOf(f *os.File) []byte { return unix.UnixRights(int(f.Fd())) }
