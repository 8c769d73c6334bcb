package wire

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// Unmarshal decodes one CBOR value into the pointer dst by the rules of the binary wire. Errors are *CodecError.
func Unmarshal(b []byte, dst any) error {
	rest, err := decodeValue(b, dst)
	if err == nil && len(rest) != 0 {
		err = fmt.Errorf("%d bytes follow the value", len(rest))
	}
	if err != nil {
		return &CodecError{Op: "decode", What: fmt.Sprintf("a %T", dst), Err: err}
	}
	return nil
}

// decodeValues decodes the CBOR array body into dst. If own, nobody else uses body's memory, and large byte strings
// share it.
func decodeValues(body []byte, dst []any, own bool) error {
	_, _, rest, ok := readHead(body)
	if !ok {
		return errors.New("no array of values")
	}
	var err error
	for i, d := range dst {
		if p, ok := d.(*[]byte); ok && own && p != nil {
			if major, n, after, ok := readHead(rest); ok && major == majorBytes && n >= writevFrom && n <= uint64(len(after)) {
				*p, rest = after[:n:n], after[n:]
				continue
			}
		}
		if rest, err = decodeValue(rest, d); err != nil {
			return fmt.Errorf("value %d: %w", i+1, err)
		}
	}
	if len(rest) != 0 {
		return fmt.Errorf("%d bytes follow the last value", len(rest))
	}
	return nil
}

// decodeValue decodes the first value of b into dst and returns what follows it. Plain types go a direct way;
// whatever that way doesn't know, an overflow or a wrong type among them, is left to fxamacker/cbor to judge.
func decodeValue(b []byte, dst any) ([]byte, error) {
	major, n, rest, ok := readHead(b)
	if ok {
		switch d := dst.(type) {
		case *string:
			if d != nil && major == majorText && n <= uint64(len(rest)) {
				if !utf8.Valid(rest[:n]) {
					return nil, errNotUTF8
				}
				*d = string(rest[:n])
				return rest[n:], nil
			}
		case *int:
			if v, ok := smallInt(major, n); ok && d != nil && int64(int(v)) == v {
				*d = int(v)
				return rest, nil
			}
		case *int64:
			if v, ok := smallInt(major, n); ok && d != nil {
				*d = v
				return rest, nil
			}
		case *uint64:
			if d != nil && major == majorUint {
				*d = n
				return rest, nil
			}
		case *bool:
			if d != nil && (b[0] == cborTrue || b[0] == cborFalse) {
				*d = b[0] == cborTrue
				return rest, nil
			}
		case *float64:
			if d != nil && b[0] == cborFloat64 {
				*d = math.Float64frombits(n)
				return rest, nil
			}
		case nil, *None:
			return decMode.UnmarshalFirst(b, new(cbor.RawMessage))
		}
	}
	return decMode.UnmarshalFirst(b, dst)
}

func smallInt(major byte, n uint64) (int64, bool) {
	if n > math.MaxInt64 {
		return 0, false
	}
	switch major {
	case majorUint:
		return int64(n), true
	case majorNeg:
		return -1 - int64(n), true
	}
	return 0, false
}
