//go:build linux || darwin

package tail

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxRest is how much is read of a pipe after its deadline: the largest that a pipe can be.
const maxRest = 1 << 20

// Reader reads a pipe whose writer ends, and somebody else may hold open after that. Set the file's read deadline to let
// go of it: what the pipe holds then is still read, however late the reader is.
type Reader struct {
	File *os.File
	rest int // bytes read after the deadline
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := 0, os.ErrDeadlineExceeded
	if r.rest == 0 {
		n, err = r.File.Read(p)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	conn, err := r.File.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := conn.Control(func(fd uintptr) { // the file is nonblocking, as it has deadlines
		for {
			if n, err = unix.Read(int(fd), p); err != unix.EINTR {
				return
			}
		}
	})
	r.rest += max(n, 0)
	if err = errors.Join(cerr, err); err != nil || n <= 0 || r.rest > maxRest {
		return max(n, 0), io.EOF
	}
	return n, nil
}
