package lane

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// visit waits for Go's network poller.
type visit struct {
	file *os.File // an eventfd, which the poller watches like everything else
	raw  syscall.RawConn
}

// newVisit returns nil if there is no descriptor to be had.
func newVisit() *visit {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil
	}
	v := &visit{file: os.NewFile(uintptr(fd), "eventfd")}
	if v.raw, err = v.file.SyscallConn(); err != nil {
		v.close()
		return nil
	}
	return v
}

func (v *visit) close() { v.file.Close() }

// await returns when the poller has delivered what was there when await was called: the eventfd is readable then, and so is one
// of those. It returns at once if the eventfd can't be used, and when it is closed.
func (v *visit) await() {
	came := false
	v.raw.Read(func(fd uintptr) bool {
		var n [8]byte
		if came {
			unix.Read(int(fd), n[:])
			return true
		}
		came = true
		n[0], n[7] = 1, 1 // not 0 in either order of bytes, and far from the most that it holds
		_, err := unix.Write(int(fd), n[:])
		return err != nil
	})
}
