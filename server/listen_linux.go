package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

const maxSocketPath = 107 // bytes; the system's limit for a socket's address, without the zero byte at its end

// listenUnix makes a socket at path. Its file has the right mode from the first moment on, as the system takes it from
// the socket. Who else wants the path at this moment is kept away: to him a socket that is bound and does not listen yet
// would look like a stale one.
func listenUnix(path string) (net.Listener, error) {
	path, err := socketPath(path)
	if err != nil {
		return nil, err
	}
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path has %d bytes, and the system's limit for a socket's is %d", len(path), maxSocketPath)
	}
	unlock, err := lockPath(path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		cerr := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(cerr, err)
	}}
	l, err := c.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	ul := l.(*net.UnixListener)
	ul.SetUnlinkOnClose(false)
	return newUnixListener(ul, path)
}

// removeStale makes room for a socket at path. It returns an error unless path is free, or a socket that nobody answers
// on.
func removeStale(path string) error {
	if err := checkStale(path); err != nil {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// lockPath locks the path against others that want to listen there. The lock is a file beside it, which is gone after
// unlock. The lock of a process that dies is free, although its file stays until somebody locks it again.
func lockPath(path string) (unlock func(), err error) {
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock")
	for {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			f.Close()
			if err == syscall.EWOULDBLOCK {
				err = errors.New("another server is just being started on it")
			}
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		mine, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if now, err := os.Lstat(name); err == nil && os.SameFile(mine, now) {
			return func() {
				os.Remove(name)
				f.Close()
			}, nil
		}
		f.Close() // its last owner has removed it since it was opened
	}
}
