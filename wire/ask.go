package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// AskByte begins a connection on which a client of a Listen address asks the server how a worker has ended. The client
// sends it and an Ask, the server answers with an Exit as soon as the worker has ended, or closes the connection if it
// knows no such worker. Both are a length of four bytes (big endian) and a CBOR map.
const AskByte byte = 0xb2

// Ask names a worker by what its hello said.
type Ask struct {
	Pid    int `cbor:"1,keyasint"`
	Number int `cbor:"2,keyasint"`
}

const maxAsk, maxExit = 64, 1 << 20 // bytes

// AskExit asks on a new connection how a worker has ended, and waits for the answer.
func AskExit(rw io.ReadWriter, ask Ask) (*Exit, error) {
	b, err := appendSized([]byte{AskByte}, ask)
	if err != nil {
		return nil, err
	}
	if _, err := rw.Write(b); err != nil {
		return nil, err
	}
	e := new(Exit)
	return e, readSized(rw, maxExit, e)
}

// AnswerExit reads a client's Ask, AskByte included, and answers it. find returns nil for a worker it doesn't know.
func AnswerExit(rw io.ReadWriter, find func(Ask) *Exit) error {
	var first [1]byte
	if _, err := io.ReadFull(rw, first[:]); err != nil {
		return err
	}
	if first[0] != AskByte {
		return violation("a question begins with byte %#x instead of %#x", first[0], AskByte)
	}
	var ask Ask
	if err := readSized(rw, maxAsk, &ask); err != nil {
		return err
	}
	e := find(ask)
	if e == nil {
		return errors.New("no such worker")
	}
	b, err := appendSized(nil, e)
	if err == nil {
		_, err = rw.Write(b)
	}
	return err
}

func appendSized(b []byte, v any) ([]byte, error) {
	at := len(b)
	b, err := appendValue(append(b, 0, 0, 0, 0), v)
	if err == nil {
		binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	}
	return b, err
}

func readSized(r io.Reader, limit uint32, dst any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > limit {
		return &ProtocolError{Message: fmt.Sprintf("%d bytes", n), Err: ErrTooLarge}
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	return Unmarshal(b, dst)
}
