package bare

import (
	"io"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// polled waits in Go's poller.
type polled struct{ net.Conn }

func (s polled) writeBoth(head, body []byte) error {
	bufs := net.Buffers{head, body}
	_, err := bufs.WriteTo(s.Conn)
	return err
}

// blocking waits in the kernel, by system calls that the scheduler knows of.
type blocking int

func (s blocking) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(s), p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (s blocking) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(int(s), p[done:])
		if err != nil && err != unix.EINTR {
			return done, os.NewSyscallError("write", err)
		}
		done += max(n, 0)
	}
	return done, nil
}

func (s blocking) writeBoth(head, body []byte) error {
	n, err := unix.Writev(int(s), [][]byte{head, body})
	for err == unix.EINTR {
		n, err = unix.Writev(int(s), [][]byte{head, body})
	}
	if err != nil {
		return os.NewSyscallError("writev", err)
	}
	if n < len(head) {
		if _, err := s.Write(head[n:]); err != nil {
			return err
		}
	}
	_, err = s.Write(body[max(n-len(head), 0):])
	return err
}

// raw waits in the kernel, and the scheduler does not know. The socket's receive timeout bounds that: after it, raw
// waits by an ordinary system call.
type raw int

func (s raw) Read(p []byte) (int, error) {
	for {
		n, _, err := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
			uintptr(len(p)), 0, 0, 0)
		switch {
		case err == unix.EAGAIN, err == unix.EINTR:
			fds := []unix.PollFd{{Fd: int32(s), Events: unix.POLLIN}}
			unix.Poll(fds, -1) // an error shows in the next recvfrom
		case err != 0:
			return 0, os.NewSyscallError("recvfrom", err)
		case n == 0:
			return 0, io.EOF
		default:
			return int(n), nil
		}
	}
}

func (s raw) Write(p []byte) (int, error) {
	n, _, err := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
		uintptr(len(p)), sendFlags, 0, 0)
	if err != 0 {
		n = 0 // no room, or an error that the ordinary way meets too
	}
	rest, werr := blocking(s).Write(p[n:])
	return int(n) + rest, werr
}

func (s raw) writeBoth(head, body []byte) error { return blocking(s).writeBoth(head, body) }
