package wire

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// decodeChecked decodes text, which checkJSON has seen, into dst. encoding/json does it, except that it makes
// float64 of every number that goes into an any: that loses bits of integers, so such numbers are
// kept as text and converted afterwards.
func decodeChecked(text []byte, dst any) error {
	switch d := dst.(type) {
	case nil, *None:
		return nil
	case *string:
		if s, ok := plainText(text); ok && d != nil {
			*d = s
			return nil
		}
	case *any:
		if d == nil {
			break
		}
		var v any
		if err := decodeNumbers(text, &v); err != nil {
			return err
		}
		v, err := fixAny(v)
		if err != nil {
			return err
		}
		*d = v
		return nil
	}
	if t := reflect.TypeOf(dst); t.Kind() != reflect.Pointer || !holdsAny(t.Elem()) {
		return json.Unmarshal(text, dst)
	}
	if err := decodeNumbers(text, dst); err != nil {
		return err
	}
	return fixNumbers(reflect.ValueOf(dst), 0)
}

// plainText returns the content of a JSON string without escapes. ok is false for everything else.
func plainText(text []byte) (s string, ok bool) {
	if text[0] != '"' || bytes.IndexByte(text, '\\') >= 0 {
		return "", false
	}
	return string(text[1 : len(text)-1]), true
}

func decodeNumbers(text []byte, dst any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(dst)
}

// fixAny converts the numbers in what encoding/json made of a JSON value.
func fixAny(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		return jsonNumber(v)
	case []any:
		for i := range v {
			if v[i], err = fixAny(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k, e := range v {
			if v[k], err = fixAny(e); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// jsonNumber returns a number as cbor.go's decoder does: an integer if it is written as one, otherwise a float64.
func jsonNumber(n json.Number) (any, error) {
	s := string(n)
	if strings.ContainsAny(s, ".eE") {
		return strconv.ParseFloat(s, 64)
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, nil
	}
	i, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, fmt.Errorf("%q is not a number", s)
	}
	return i, nil
}

// fixNumbers converts the numbers in every any that v holds.
func fixNumbers(v reflect.Value, depth int) error {
	if depth > 4*MaxDepth || !v.IsValid() || !holdsAny(v.Type()) { // a cycle that was in dst before
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		return fixNumbers(v.Elem(), depth+1)
	case reflect.Interface:
		return fixInterface(v, depth)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := fixNumbers(v.Index(i), depth+1); err != nil {
				return err
			}
		}
	case reflect.Map:
		return fixMap(v, depth)
	case reflect.Struct:
		for i := range v.NumField() {
			if decoded(v.Type().Field(i)) {
				if err := fixNumbers(v.Field(i), depth+1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func fixInterface(v reflect.Value, depth int) error {
	if v.IsNil() || !v.CanSet() || v.NumMethod() != 0 {
		return nil
	}
	if v.Elem().Kind() == reflect.Pointer { // it was there before; encoding/json decodes into it
		return fixNumbers(v.Elem(), depth+1)
	}
	fixed, err := fixAny(v.Interface())
	if err == nil && fixed != nil {
		v.Set(reflect.ValueOf(fixed))
	}
	return err
}

// fixMap replaces a map's values by fixed copies, as they can't be changed in place.
func fixMap(v reflect.Value, depth int) error {
	for it := v.MapRange(); it.Next(); {
		e := reflect.New(v.Type().Elem()).Elem()
		e.Set(it.Value())
		if err := fixNumbers(e, depth+1); err != nil {
			return err
		}
		v.SetMapIndex(it.Key(), e)
	}
	return nil
}

var anyTypes sync.Map // reflect.Type → bool

// holdsAny reports whether a value of type t can hold an any that encoding/json decodes into.
func holdsAny(t reflect.Type) bool {
	if h, ok := anyTypes.Load(t); ok {
		return h.(bool)
	}
	h := findAny(t, map[reflect.Type]bool{})
	anyTypes.Store(t, h)
	return h
}

// findAny is holdsAny's search. seen keeps it from following a recursive type for ever.
func findAny(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] || decodesItself(t) {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return t.NumMethod() == 0
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return findAny(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); decoded(f) && findAny(f.Type, seen) {
				return true
			}
		}
	}
	return false
}

// decoded reports whether encoding/json decodes into a struct's field, or into the fields of one that is embedded.
func decoded(f reflect.StructField) bool {
	return f.IsExported() || f.Anonymous && f.Type.Kind() == reflect.Struct
}

var selfDecoders = []reflect.Type{reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()}

func decodesItself(t reflect.Type) bool {
	if t.Kind() == reflect.Interface {
		return false
	}
	for _, m := range selfDecoders {
		if t.Implements(m) || reflect.PointerTo(t).Implements(m) {
			return true
		}
	}
	return false
}
