package wire

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// checkValue refuses what neither wire can carry: values nested deeper than MaxDepth, cyclic ones among them,
// and strings that aren't UTF-8, which encoding/json would mangle and fxamacker/cbor would send.
func checkValue(v any) error { return checkReflected(reflect.ValueOf(v), 0) }

// checkReflected checks v, which stands in depth containers. Pointers are no level of nesting on the wire, but a
// cycle may consist of nothing else.
func checkReflected(v reflect.Value, depth int) error {
	for hops := 0; v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface; hops++ {
		if v.IsNil() || plain(v.Type()) {
			return nil
		}
		if hops > MaxDepth {
			return errTooDeep
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Invalid:
		return nil
	case reflect.String:
		if !plain(v.Type()) && !utf8.ValidString(v.String()) {
			return errNotUTF8
		}
	case reflect.Slice, reflect.Array, reflect.Map, reflect.Struct:
		switch {
		case encodesItself(v.Type()):
			return nil
		case depth == MaxDepth:
			return errTooDeep
		case !plain(v.Type()):
			return checkElements(v, depth+1)
		}
	}
	return nil
}

var errTooDeep = fmt.Errorf("nested deeper than %d levels, or cyclic", MaxDepth)

func checkElements(v reflect.Value, depth int) error {
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := checkReflected(v.Index(i), depth); err != nil {
				return err
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if err := checkReflected(it.Key(), depth); err != nil {
				return err
			}
			if err := checkReflected(it.Value(), depth); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if skipped(v.Type().Field(i)) {
				continue
			}
			if err := checkReflected(v.Field(i), depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// skipped reports whether the codecs leave a struct's field out. One that only JSON leaves out is checked, as are
// the fields that are left out for being empty.
func skipped(f reflect.StructField) bool {
	tag, ok := f.Tag.Lookup("cbor")
	if !ok {
		tag = f.Tag.Get("json")
	}
	return tag == "-" || !f.IsExported() && !f.Anonymous
}

var plainTypes sync.Map // reflect.Type → bool

// plain reports whether no value of t needs a check: it can hold neither strings nor a cycle, or it encodes itself.
func plain(t reflect.Type) bool {
	if p, ok := plainTypes.Load(t); ok {
		return p.(bool)
	}
	p := encodesItself(t) || plainKind(t)
	plainTypes.Store(t, p)
	return p
}

func plainKind(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Interface, reflect.Pointer, reflect.Map:
		return false
	case reflect.Slice:
		// A slice type may contain itself; only slices of scalars are told apart here.
		switch t.Elem().Kind() {
		case reflect.Slice, reflect.Array, reflect.Struct:
			return false
		}
		return plain(t.Elem())
	case reflect.Array:
		return plain(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); !skipped(f) && !plain(f.Type) {
				return false
			}
		}
	}
	return true
}

var selfEncoders = []reflect.Type{
	reflect.TypeFor[cbor.Marshaler](), reflect.TypeFor[json.Marshaler](),
	reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.BinaryMarshaler](),
}

func encodesItself(t reflect.Type) bool {
	if t.Kind() == reflect.Interface {
		return false
	}
	for _, m := range selfEncoders {
		if t.Implements(m) {
			return true
		}
	}
	return false
}
