//go:build unix

package keepalive

import (
	"os"

	"golang.org/x/sys/unix"
)

// pollable returns f as a file that waits in Go's poller, so that a waiting Read holds no thread and Close ends it.
// An inherited descriptor is blocking unless somebody made it otherwise.
func pollable(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f.Close()
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "keepalive"), nil
}

// inheritable returns f as a file that os/exec and os.StartProcess leave as it is. What os.Pipe returns they put into
// blocking mode, and with it the same pipe's end in processes that were started before.
func inheritable(f *os.File) (*os.File, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "keepalive"), nil
}
