package wire

import (
	"math"
	"time"
	"unicode/utf8"
)

// A worker's first call waits for two hellos, and reflection is slow when nobody has used it for a while. So hellos are encoded
// and decoded directly, to the same bytes, and what is unusual in them is left to the library.

const (
	helloVersion = iota + 1 // the keys of the map
	helloMaxMessage
	helloName
	helloPid
	helloNumber
	helloHook
	helloSetup
	helloBuild
	helloGrace
	helloLane
)

// appendHello appends h, of which all text is valid.
func appendHello(b []byte, h *Hello) ([]byte, error) {
	if h.Setup != nil {
		return appendReflected(b, h)
	}
	at, n := len(b), 1
	b = appendInt(append(b, 0, helloVersion), int64(h.Version))
	integer := func(key byte, v int64) {
		if v != 0 {
			b = appendInt(append(b, key), v)
			n++
		}
	}
	text := func(key byte, s string) {
		if s != "" {
			b = append(appendHead(append(b, key), majorText, uint64(len(s))), s...)
			n++
		}
	}
	integer(helloMaxMessage, h.MaxMessage)
	text(helloName, h.Name)
	integer(helloPid, int64(h.Pid))
	integer(helloNumber, int64(h.Number))
	if h.Hook {
		b = append(b, helloHook, cborTrue)
		n++
	}
	integer(helloGrace, int64(h.Grace))
	text(helloBuild, h.Build)
	integer(helloLane, int64(h.Lane))
	b[at] = majorMap | byte(n)
	return b, nil
}

// decodeHello decodes b into h, or returns false, and h has anything in it then.
func decodeHello(b []byte, h *Hello) bool {
	major, fields, b, ok := readHead(b)
	if !ok || major != majorMap {
		return false
	}
	seen := 0
	for range fields {
		var key uint64
		if major, key, b, ok = readHead(b); !ok || major != majorUint || key > helloLane || seen&(1<<key) != 0 {
			return false
		}
		seen |= 1 << key
		if b, ok = h.decodeField(key, b); !ok {
			return false
		}
	}
	return len(b) == 0
}

// decodeField decodes the value of one field, and returns what follows it.
func (h *Hello) decodeField(key uint64, b []byte) ([]byte, bool) {
	major, n, rest, ok := readHead(b)
	if !ok {
		return nil, false
	}
	v, integer := smallInt(major, n)
	switch key {
	case helloVersion:
		h.Version = uint8(v)
		return rest, integer && v >= 0 && v <= math.MaxUint8
	case helloLane:
		h.Lane = uint8(v)
		return rest, integer && v >= 0 && v <= math.MaxUint8
	case helloMaxMessage:
		h.MaxMessage = v
		return rest, integer
	case helloPid:
		h.Pid = int(v)
		return rest, integer && int64(int(v)) == v
	case helloNumber:
		h.Number = int(v)
		return rest, integer && int64(int(v)) == v
	case helloGrace:
		h.Grace = time.Duration(v)
		return rest, integer
	case helloHook:
		h.Hook = b[0] == cborTrue
		return rest, b[0] == cborTrue || b[0] == cborFalse
	case helloName, helloBuild:
		if major != majorText || n > uint64(len(rest)) || !utf8.Valid(rest[:n]) {
			return nil, false
		}
		to := &h.Name
		if key == helloBuild {
			to = &h.Build
		}
		*to = string(rest[:n])
		return rest[n:], true
	}
	return nil, false
}
