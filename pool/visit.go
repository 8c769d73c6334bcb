package pool

import (
	"errors"
	"syscall"
)

// visit is one visit to Go's poller that sends a message and receives what answers it. It saves the look for a reply
// that can't be there yet, and half of what it costs to get hold of the descriptor.
type visit struct {
	raw  syscall.RawConn            // nil if there is no descriptor to be had
	step func(fd uintptr) (ok bool) // take, bound once and for all
	bell func(fd uintptr)           // sendBell

	out  []byte // what is to be sent still; nil once it is
	with []byte // goes out with its first byte: a descriptor, as unix.UnixRights has it. Nil once it has
	in   []byte
	sent int
	got  int
	err  error
}

// errMoreToSend says that the socket has no room: what is left stands in out.
var errMoreToSend = errors.New("more to send")

// roundTrip sends out, waits, and receives into p.
func (v *visit) roundTrip(p []byte) (int, error) {
	v.in, v.sent, v.got, v.err = p, 0, 0, nil
	err := v.raw.Read(v.step)
	v.in = nil
	if err != nil {
		return 0, err
	}
	return v.got, v.err
}
