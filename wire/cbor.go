package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// MaxDepth is how deep values may be nested on both wires, as in JSON::XS.
const MaxDepth = 512

// The CBOR rules of the binary wire, by RFC 8949. They are fixed: a change is a new protocol version.
var (
	encMode = must(cbor.EncOptions{
		Time:                    cbor.TimeRFC3339Nano, // the default loses fractions of seconds
		TimeTag:                 cbor.EncTagRequired,
		InfConvert:              cbor.InfConvertNone, // float64 throughout, as on the direct way
		NaNConvert:              cbor.NaNConvertNone,
		TextMarshaler:           cbor.TextMarshalerTextString, // as in JSON
		JSONMarshalerTranscoder: jsonTranscoder{},
	}.UserBufferEncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:                 cbor.DupMapKeyEnforcedAPF,
		DefaultMapType:            reflect.TypeFor[map[string]any](),
		IntDec:                    cbor.IntDecConvertSignedOrBigInt,
		BigIntDec:                 cbor.BigIntDecodePointer,
		MaxNestedLevels:           MaxDepth + 1,  // a tag may stand around the innermost value
		MaxArrayElements:          math.MaxInt32, // MaxMessage is the limit
		MaxMapPairs:               math.MaxInt32,
		UTF8:                      cbor.UTF8RejectInvalid,
		UnrecognizedTagToAny:      cbor.UnrecognizedTagContentToAny, // none of that library's types in an any
		SimpleValues:              must(cbor.NewSimpleValueRegistryFromDefaults(onlyKnownSimple()...)),
		TextUnmarshaler:           cbor.TextUnmarshalerTextString,
		JSONUnmarshalerTranscoder: cborTranscoder{},
	}.DecMode())
)

func must[T any](mode T, err error) T {
	if err != nil {
		panic(err) // a contradiction in the options above
	}
	return mode
}

// onlyKnownSimple refuses the simple values that have no meaning: all but false, true, null and undefined.
func onlyKnownSimple() (options []func(*cbor.SimpleValueRegistry) error) {
	for v := range 256 {
		if v < 20 || v > 31 {
			options = append(options, cbor.WithRejectedSimpleValue(cbor.SimpleValue(v)))
		}
	}
	return options
}

// CBOR major types, shifted into place (RFC 8949, section 3.1).
const (
	majorUint  = 0 << 5
	majorNeg   = 1 << 5
	majorBytes = 2 << 5
	majorText  = 3 << 5
	majorArray = 4 << 5
	majorMap   = 5 << 5

	cborFalse   = 0xf4
	cborTrue    = 0xf5
	cborNull    = 0xf6
	cborFloat64 = 0xfb
)

// appendHead appends a CBOR head.
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

// readHead reads a definite-length CBOR head. ok is false if b doesn't begin with one.
func readHead(b []byte) (major byte, n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, 0, nil, false
	}
	major, info := b[0]&0xe0, b[0]&0x1f
	if info < 24 {
		return major, uint64(info), b[1:], true
	}
	size := 1 << (info - 24)
	if info > 27 || len(b) < 1+size {
		return 0, 0, nil, false
	}
	for _, c := range b[1 : 1+size] {
		n = n<<8 | uint64(c)
	}
	return major, n, b[1+size:], true
}

// appendValue encodes v, or what v points to. Plain types go a direct way, without reflection.
func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, cborNull), nil
	case *string:
		if v != nil {
			return appendText(b, *v)
		}
	case string:
		return appendText(b, v)
	case *[]byte:
		if v != nil {
			return appendBytes(b, *v), nil
		}
	case []byte:
		return appendBytes(b, v), nil
	case *int:
		if v != nil {
			return appendInt(b, int64(*v)), nil
		}
	case int:
		return appendInt(b, int64(v)), nil
	case *int64:
		if v != nil {
			return appendInt(b, *v), nil
		}
	case int64:
		return appendInt(b, v), nil
	case *uint64:
		if v != nil {
			return appendHead(b, majorUint, *v), nil
		}
	case uint64:
		return appendHead(b, majorUint, v), nil
	case *bool:
		if v != nil {
			return appendBool(b, *v), nil
		}
	case bool:
		return appendBool(b, v), nil
	case *float64:
		if v != nil {
			return appendFloat(b, *v), nil
		}
	case float64:
		return appendFloat(b, v), nil
	case *None, None:
		return append(b, cborNull), nil
	}
	return appendReflected(b, v)
}

func appendText(b []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return b, errNotUTF8
	}
	return append(appendHead(b, majorText, uint64(len(s))), s...), nil
}

func appendBytes(b, v []byte) []byte {
	if v == nil {
		return append(b, cborNull)
	}
	return append(appendHead(b, majorBytes, uint64(len(v))), v...)
}

func appendInt(b []byte, v int64) []byte {
	if v < 0 {
		return appendHead(b, majorNeg, uint64(-1-v))
	}
	return appendHead(b, majorUint, uint64(v))
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, cborTrue)
	}
	return append(b, cborFalse)
}

func appendFloat(b []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(b, cborFloat64), math.Float64bits(v))
}

var errNotUTF8 = errors.New("a string is not valid UTF-8 (send it as []byte)")

var encodeBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// appendReflected encodes any other type by fxamacker/cbor. It checks first what that library doesn't: depth,
// without which a cyclic value would overflow the stack of the app, and UTF-8.
func appendReflected(b []byte, v any) ([]byte, error) {
	if err := checkValue(v); err != nil {
		return b, err
	}
	buf := encodeBuffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= keepBuffer {
			buf.Reset()
			encodeBuffers.Put(buf)
		}
	}()
	if err := encMode.MarshalToBuffer(v, buf); err != nil {
		return b, err
	}
	return append(b, buf.Bytes()...), nil
}

// Marshal encodes v as one CBOR value by the rules of the binary wire. Errors are *CodecError.
func Marshal(v any) ([]byte, error) {
	b, err := appendValue(nil, v)
	if err != nil {
		return nil, &CodecError{Op: "encode", What: fmt.Sprintf("a %T", v), Err: err}
	}
	return b, nil
}
