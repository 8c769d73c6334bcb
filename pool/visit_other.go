//go:build unix && !linux

package pool

import "golang.org/x/sys/unix"

func send(fd int, p []byte) (int, unix.Errno) { return result(unix.Write(fd, p)) }

func receive(fd int, p []byte) (int, unix.Errno) { return result(unix.Read(fd, p)) }
