package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A frame of the binary wire. PROTOCOL.md has the picture.
//
//	0       4      5       6        8      12       20
//	+-------+------+-------+--------+------+--------+------+--------+------+
//	| length| type | flags | method |  id  |  run   | meta | method | body |
//	|       |      |       | length |      |        |      |        |      |
//	+-------+------+-------+--------+------+--------+------+--------+------+
//
// All integers are big endian. The length counts what follows it.
const (
	frameHeader = 20
	frameFixed  = frameHeader - 4 // what the length counts at least

	flagLast byte = 1 << 0 // do: no dn follows
	flagMeta byte = 1 << 1 // four bytes of length and a CBOR map stand before the method

	// FirstByte begins a client's stream on the binary wire. It says the protocol's version, and JSON can't begin with it.
	FirstByte byte = 0xb1

	// Version is the protocol's version, which a hello says again.
	Version = 1

	maxMethod = math.MaxUint16
	// envelope is what a frame may hold beside its body: header, method, and meta with its log records.
	envelope = frameHeader + maxMethod + 1<<20
	maxMeta  = envelope - frameHeader - maxMethod - 4
)

// appendFrame appends m as a frame. A large []byte at the end is not copied: it is returned as tail, to be written
// after the buffer.
func appendFrame(b []byte, m *Message, maxBody int64) (buf, tail []byte, err error) {
	start := len(b)
	if len(m.Method) > maxMethod {
		return b, nil, fmt.Errorf("a method's name has %d bytes; %d are allowed", len(m.Method), maxMethod)
	}
	method := ""
	if m.Type == TypeDo {
		method = m.Method
	}
	var flags byte
	if m.Last {
		flags |= flagLast
	}
	if len(m.Meta) > 0 {
		flags |= flagMeta
	}
	b = append(b, 0, 0, 0, 0, byte(m.Type), flags)
	b = binary.BigEndian.AppendUint16(b, uint16(len(method)))
	b = binary.BigEndian.AppendUint32(b, m.ID)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Run))
	if flags&flagMeta != 0 {
		if b, err = appendMeta(b, m.Meta); err != nil {
			return b[:start], nil, err
		}
	}
	b = append(b, method...)
	body := len(b)
	if b, tail, err = appendBody(b, m); err != nil {
		return b[:start], nil, err
	}
	if size := int64(len(b) - body + len(tail)); size > maxBody {
		return b[:start], nil, fmt.Errorf("it has %d bytes, %w (%d)", size, ErrTooLarge, maxBody)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4+len(tail)))
	return b, tail, nil
}

func appendMeta(b []byte, meta map[string]any) ([]byte, error) {
	at := len(b)
	b, err := appendValue(append(b, 0, 0, 0, 0), meta)
	if err != nil {
		return b, fmt.Errorf("meta: %w", err)
	}
	size := len(b) - at - 4
	if size > maxMeta {
		return b, fmt.Errorf("meta and log records have %d bytes, %w", size, ErrTooLarge)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(size))
	return b, nil
}

// appendBody appends what m carries: an array of arguments, one result, an error or a hello.
func appendBody(b []byte, m *Message) (buf, tail []byte, err error) {
	switch m.Type {
	case TypeDo, TypeOK:
		if m.Type == TypeOK && len(m.Values) != 1 {
			return b, nil, fmt.Errorf("an ok carries one result, not %d", len(m.Values))
		}
		b = appendHead(b, majorArray, uint64(len(m.Values)))
		for i, v := range m.Values {
			if p := largeBytes(v); p != nil && i == len(m.Values)-1 {
				return appendHead(b, majorBytes, uint64(len(p))), p, nil
			}
			if b, err = appendValue(b, v); err != nil {
				return b, nil, err
			}
		}
	case TypeEr:
		b, err = appendReflected(b, m.Err.valid())
	case TypeHello:
		b, err = appendHello(b, m.Hello.valid())
	}
	return b, nil, err
}

// largeBytes returns the bytes that v is or points to, if there are so many that a copy costs more than a writev.
func largeBytes(v any) []byte {
	switch v := v.(type) {
	case []byte:
		if len(v) >= writevFrom {
			return v
		}
	case *[]byte:
		if v != nil && len(*v) >= writevFrom {
			return *v
		}
	}
	return nil
}

// frameSize checks the first bytes of a frame and returns how long it is in all.
func frameSize(b []byte, maxBody int64) (int64, error) {
	size := int64(binary.BigEndian.Uint32(b))
	if size < frameFixed {
		return 0, violation("a frame of %d bytes, where its header alone has %d", size, frameFixed)
	}
	if size > maxBody+envelope {
		return 0, &ProtocolError{Message: fmt.Sprintf("a frame of %d bytes", size), Err: ErrTooLarge}
	}
	return size + 4, nil
}

// parseFrame fills m from a whole frame. m's body points into b.
func parseFrame(b []byte, m *Message, maxBody int64) error {
	m.reset()
	m.kind = Binary
	m.Type = Type(b[4])
	flags := b[5]
	methodLen := int(binary.BigEndian.Uint16(b[6:]))
	m.ID = binary.BigEndian.Uint32(b[8:])
	m.Run = int64(binary.BigEndian.Uint64(b[12:]))
	m.Last = flags&flagLast != 0
	if flags&^(flagLast|flagMeta) != 0 {
		return violation("a frame has unknown flags %#x", flags)
	}
	b = b[frameHeader:]
	if flags&flagMeta != 0 {
		if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
			return violation("a frame's meta is longer than the frame")
		}
		n := binary.BigEndian.Uint32(b)
		if n > maxMeta {
			return &ProtocolError{Message: fmt.Sprintf("a meta of %d bytes", n), Err: ErrTooLarge}
		}
		if err := decMode.Unmarshal(b[4:4+n], &m.Meta); err != nil {
			return &ProtocolError{Message: "a frame's meta is not a CBOR map", Err: err}
		}
		b = b[4+n:]
	}
	if methodLen > len(b) {
		return violation("a frame's method is longer than the frame")
	}
	if name := b[:methodLen]; m.Type == TypeDo && m.Method != string(name) {
		m.Method = string(name)
	}
	m.body = b[methodLen:]
	if int64(len(m.body)) > maxBody {
		return &ProtocolError{Message: fmt.Sprintf("a body of %d bytes", len(m.body)), Err: ErrTooLarge}
	}
	return parseBody(m)
}

// parseBody takes apart what is not the user's: the number of values, an error, a hello.
func parseBody(m *Message) error {
	switch m.Type {
	case TypeDo, TypeOK:
		major, n, rest, ok := readHead(m.body)
		if !ok || major != majorArray || n > uint64(len(rest)) {
			return violation("the body of %s is not a CBOR array of values", m.Type)
		}
		if m.Type == TypeOK && n != 1 {
			return violation("an ok carries %d values instead of one result", n)
		}
		m.n = int(n)
	case TypeEr:
		m.Err = new(RemoteError)
		if err := decMode.Unmarshal(m.body, m.Err); err != nil {
			return &ProtocolError{Message: "the body of er is not an error", Err: err}
		}
		m.body = nil
	case TypeHello:
		m.Hello = new(Hello)
		if !decodeHello(m.body, m.Hello) {
			*m.Hello = Hello{}
			if err := decMode.Unmarshal(m.body, m.Hello); err != nil {
				return &ProtocolError{Message: "the body of hello is not a hello", Err: err}
			}
		}
		m.body = nil
	case TypeDn, TypeAck, TypeCancel, TypeLane:
		if len(m.body) != 0 {
			return violation("%s carries a body", m.Type)
		}
	default:
		return violation("a frame of unknown %s", m.Type)
	}
	return nil
}
