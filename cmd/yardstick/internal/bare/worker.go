package bare

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// stream is a worker's end of its connection.
type stream interface {
	io.ReadWriter
	// writeBoth writes head and body by one system call, if the kernel has room for them.
	writeBoth(head, body []byte) error
}

// serve echoes until the connection is closed.
func serve(fd int, read Read) error {
	s, err := newStream(fd, read)
	if err != nil {
		return err
	}
	buf := make([]byte, 4<<10)
	for {
		n, have, err := readHead(s, buf)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case n&question != 0:
			err = answer(s, n)
		case n > len(buf)-4:
			err = echoLarge(s, buf, n, have)
		default:
			err = echoSmall(s, buf, n, have)
		}
		if err != nil {
			return err
		}
	}
}

func newStream(fd int, read Read) (stream, error) {
	switch read {
	case Poller:
		c, err := fileConn(fd)
		return polled{c}, err
	case Blocking:
		return blocking(fd), unix.SetNonblock(fd, false)
	case Raw:
		tv := unix.NsecToTimeval(int64(2 * time.Millisecond))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return nil, os.NewSyscallError("setsockopt", err)
		}
		return raw(fd), unix.SetNonblock(fd, false)
	}
	return nil, fmt.Errorf("unknown way to read %q", read)
}

// readHead reads a message's first bytes. It returns the message's length and how much of it is there, behind the four
// bytes of the length.
func readHead(s stream, buf []byte) (n, have int, err error) {
	for have < 4 {
		k, err := s.Read(buf[have:])
		if err != nil {
			return 0, 0, err
		}
		have += k
	}
	return int(binary.BigEndian.Uint32(buf)), have - 4, nil
}

func echoSmall(s stream, buf []byte, n, have int) error {
	if have < n {
		if _, err := io.ReadFull(s, buf[4+have:4+n]); err != nil {
			return err
		}
	}
	_, err := s.Write(buf[:4+n])
	return err
}

// echoLarge reads the message into memory of its own, as a worker has to whose handler may keep it.
func echoLarge(s stream, buf []byte, n, have int) error {
	body := make([]byte, n)
	copy(body, buf[4:4+have])
	if _, err := io.ReadFull(s, body[have:]); err != nil {
		return err
	}
	return s.writeBoth(buf[:4], body)
}

// receive says that it waits, and waits for a descriptor on the control socket.
func receive(control int) (int, error) {
	if _, err := blocking(control).Write([]byte{0}); err != nil {
		return 0, err
	}
	rights := make([]byte, unix.CmsgSpace(4))
	for {
		_, n, _, _, err := unix.Recvmsg(control, make([]byte, 1), rights, recvFlags)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, os.NewSyscallError("recvmsg", err)
		}
		if n == 0 {
			os.Exit(0) // the other side has gone
		}
		return parseRights(rights[:n])
	}
}

func parseRights(rights []byte) (int, error) {
	msgs, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return 0, err
	}
	for i := range msgs {
		if fds, err := unix.ParseUnixRights(&msgs[i]); err == nil && len(fds) > 0 {
			return fds[0], nil
		}
	}
	return 0, fmt.Errorf("no descriptor came")
}
