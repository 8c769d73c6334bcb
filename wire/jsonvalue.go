package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"unicode/utf8"
)

// appendJSON encodes v, or what v points to. Plain types go a direct way.
func appendJSON(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil, None, *None:
		return append(b, "null"...), nil
	case string:
		if plainString(v) {
			return append(append(append(b, '"'), v...), '"'), nil
		}
	case *string:
		if v != nil && plainString(*v) {
			return append(append(append(b, '"'), *v...), '"'), nil
		}
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case *int:
		if v != nil {
			return strconv.AppendInt(b, int64(*v), 10), nil
		}
	case bool:
		return strconv.AppendBool(b, v), nil
	case *bool:
		if v != nil {
			return strconv.AppendBool(b, *v), nil
		}
	}
	return appendReflectedJSON(b, v)
}

// plainString reports whether s stands in JSON as it is.
func plainString(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return utf8.ValidString(s)
}

// jsonEncoder is an encoder and what it writes to.
type jsonEncoder struct {
	buf bytes.Buffer
	enc *json.Encoder
}

var jsonEncoders = sync.Pool{New: func() any {
	e := new(jsonEncoder)
	e.enc = json.NewEncoder(&e.buf)
	e.enc.SetEscapeHTML(false) // there is no page to protect, and it makes texts longer
	return e
}}

// appendReflectedJSON encodes any other type by encoding/json. What that mangles is refused before. What it passes
// through, from a MarshalJSON or a RawMessage, is checked after, so that the peer takes whatever was written.
func appendReflectedJSON(b []byte, v any) ([]byte, error) {
	if err := checkValue(v); err != nil {
		return b, err
	}
	e := jsonEncoders.Get().(*jsonEncoder)
	defer func() {
		if e.buf.Cap() <= keepBuffer {
			e.buf.Reset()
			jsonEncoders.Put(e)
		}
	}()
	if err := e.enc.Encode(v); err != nil {
		return b, err
	}
	text := bytes.TrimSuffix(e.buf.Bytes(), []byte("\n"))
	if err := checkJSON(text, MaxDepth); err != nil {
		return b, err
	}
	return append(b, text...), nil
}

func encodeJSON(v any) ([]byte, error) { return appendJSON(nil, v) }

// decodeJSONValues decodes a message's values into dst, one by one.
func decodeJSONValues(values []raw, dst []any) error {
	for i, d := range dst {
		if err := decodeChecked(values[i], d); err != nil {
			return fmt.Errorf("value %d: %w", i+1, err)
		}
	}
	return nil
}

// decodeJSON decodes one JSON value by the rules of the wire.
func decodeJSON(text []byte, dst any) error {
	if err := checkJSON(text, MaxDepth); err != nil {
		return err
	}
	return decodeChecked(text, dst)
}
