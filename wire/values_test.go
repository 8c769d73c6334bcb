package wire_test

import (
	"encoding/json"
	"math"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

var bothKinds = []wire.Kind{wire.Binary, wire.JSON}

type inner struct {
	Name string `json:"name"`
	Any  any    `json:"any,omitempty"`
}

type outer struct {
	inner
	ID      int64             `json:"id"`
	Big     uint64            `json:"big"`
	Skipped string            `json:"-"`
	Bytes   []byte            `json:"bytes"`
	When    time.Time         `json:"when"`
	Wait    time.Duration     `json:"wait"`
	Addr    netip.Addr        `json:"addr"`
	Raw     json.RawMessage   `json:"raw"`
	List    []any             `json:"list"`
	ByName  map[string]inner  `json:"by_name"`
	Pointer *inner            `json:"pointer"`
	Labels  map[string]string `json:"labels,omitempty"`
	//lint:ignore U1000 it is meant to be left out
	hidden int
}

func TestTypesKeepTheirValues(t *testing.T) {
	t.Parallel()
	when := time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC)
	values := []any{
		"", "λ𝗚 \x00\x1f\"\\/<>&\u2028", strings.Repeat("x", 100_000), true, false,
		0, 1, -1, 23, 24, 255, 256, 65535, 65536, -24, -25, -256, -257,
		int8(math.MinInt8), int16(math.MinInt16), int32(math.MinInt32), int64(math.MinInt64), int64(math.MaxInt64),
		uint8(math.MaxUint8), uint16(math.MaxUint16), uint32(math.MaxUint32), uint64(math.MaxUint64),
		int64(1<<53 + 1), -int64(1<<53 + 1), 1.5, -0.1, 1e300, math.SmallestNonzeroFloat64, math.MaxFloat64, float32(0.1),
		[]byte(nil), []byte("raw\x00\xff"), make([]byte, 100_000), [3]byte{1, 2, 3},
		[]int{1, 2, 3}, []string{"a", "b"}, [][]string{{"a"}, {}}, map[string]int{"a": 1, "": 2},
		map[int]string{-1: "minus", 7: "seven"}, when, time.Minute, netip.MustParseAddr("2001:db8::1"),
		new(big.Int).Lsh(big.NewInt(-1), 200),
		json.RawMessage(`{"a":[1,null,"x"]}`),
		outer{
			inner: inner{"n", []any{int64(1), 2.5, nil, map[string]any{"deep": int64(math.MaxInt64)}}},
			ID:    math.MinInt64, Big: math.MaxUint64, Bytes: []byte{0, 255}, When: when, Wait: time.Second,
			Addr: netip.MustParseAddr("10.0.0.1"), Raw: json.RawMessage(`[1,2]`), List: []any{int64(1) << 60, "s"},
			ByName:  map[string]inner{"k": {"v", int64(1<<53 + 1)}},
			Pointer: &inner{Name: "p", Any: new(big.Int).Lsh(big.NewInt(1), 70)},
		},
	}
	for _, v := range values {
		for _, kind := range bothKinds {
			for _, arg := range []any{v, pointerTo(v)} {
				got := reflect.New(reflect.TypeOf(v))
				if err := carry(t, kind, arg, got.Interface()); err != nil {
					t.Errorf("%s wire: %T: %v", kind, arg, err)
				} else if !reflect.DeepEqual(got.Elem().Interface(), v) {
					t.Errorf("%s wire: %T: got %.200v, want %.200v", kind, arg, got.Elem(), v)
				}
			}
		}
	}
}

func pointerTo(v any) any {
	p := reflect.New(reflect.TypeOf(v))
	p.Elem().Set(reflect.ValueOf(v))
	return p.Interface()
}

func TestValuesInAny(t *testing.T) {
	t.Parallel()
	huge, _ := new(big.Int).SetString("-123456789012345678901234567890", 10)
	tests := []struct{ v, binary, json any }{
		{nil, nil, nil},
		{wire.None{}, nil, nil},
		{(*string)(nil), nil, nil},
		{(*inner)(nil), nil, nil},
		{[]byte(nil), nil, nil},
		{true, true, true},
		{"s", "s", "s"},
		{7, int64(7), int64(7)},
		{uint8(7), int64(7), int64(7)},
		{int64(math.MinInt64), int64(math.MinInt64), int64(math.MinInt64)},
		{int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64)},
		{int64(1<<53 + 1), int64(1<<53 + 1), int64(1<<53 + 1)},
		{uint64(math.MaxUint64), new(big.Int).SetUint64(math.MaxUint64), new(big.Int).SetUint64(math.MaxUint64)},
		{huge, huge, huge},
		{big.NewInt(5), int64(5), int64(5)},
		{1.5, 1.5, 1.5},
		{1e300, 1e300, 1e300},
		{3.0, 3.0, int64(3)},
		{[]int{1}, []any{int64(1)}, []any{int64(1)}},
		{[]any{}, []any{}, []any{}},
		{map[string]int{"a": 1}, map[string]any{"a": int64(1)}, map[string]any{"a": int64(1)}},
		{inner{Name: "n"}, map[string]any{"name": "n"}, map[string]any{"name": "n"}},
		{[]byte{1, 2, 3}, []byte{1, 2, 3}, "AQID"},
		{json.RawMessage(`{"a":9007199254740993}`), map[string]any{"a": int64(1<<53 + 1)}, map[string]any{"a": int64(1<<53 + 1)}},
		{time.Second, int64(1e9), int64(1e9)},
	}
	for _, test := range tests {
		for _, kind := range bothKinds {
			want := test.binary
			if kind == wire.JSON {
				want = test.json
			}
			var got any
			if err := carry(t, kind, test.v, &got); err != nil {
				t.Errorf("%s wire: %T: %v", kind, test.v, err)
			} else if !reflect.DeepEqual(got, want) {
				t.Errorf("%s wire: %T: got %T %v, want %T %v", kind, test.v, got, got, want, want)
			}
		}
	}
}

// TestForeignTags: what another language's CBOR may hold becomes one of the types that Decode names.
func TestForeignTags(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]any{
		"\xd8\x64\x05":             int64(5),        // an unknown tag
		"\xc1\x1a\x00\x00\x00\x07": time.Unix(7, 0), // a time in seconds
		"\xf7":                     nil,             // undefined
		"\xf9\x3c\x00":             1.0,             // a number of 16 bits
		"\xfa\x3f\xc0\x00\x00":     1.5,             // of 32 bits
		"\x9f\x01\xff":             []any{int64(1)}, // indefinite length
		"\x7f\x61a\x61b\xff":       "ab",            // in pieces
		"\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00": new(big.Int).Lsh(big.NewInt(1), 64),
	} {
		var got any
		if err := wire.Unmarshal([]byte(body), &got); err != nil || !same(got, want) {
			t.Errorf("% x: got %T %v, %v", body, got, got, err)
		}
	}
}

func TestTimeInAny(t *testing.T) {
	t.Parallel()
	when := time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.FixedZone("", 3600))
	var got any
	if err := carry(t, wire.Binary, map[string]any{"t": when}, &got); err != nil {
		t.Fatal(err)
	}
	if tm, ok := got.(map[string]any)["t"].(time.Time); !ok || !tm.Equal(when) {
		t.Errorf("got %v, want %v", got, when)
	}
}

// TestAnywhere decodes large integers into every place that an any can have.
func TestAnywhere(t *testing.T) {
	t.Parallel()
	const n = int64(1<<53 + 1)
	for _, kind := range bothKinds {
		var inMap map[string]map[string]any
		var inSlice [][]any
		var inPointer *[]any
		var inStructs map[string][]inner
		var number json.Number
		var holder struct{ inner }
		for _, test := range []struct {
			v, dst any
			got    func() any
		}{
			{map[string]any{"a": map[string]any{"b": n}}, &inMap, func() any { return inMap["a"]["b"] }},
			{[]any{[]any{n}}, &inSlice, func() any { return inSlice[0][0] }},
			{[]any{n}, &inPointer, func() any { return (*inPointer)[0] }},
			{map[string]any{"k": []any{map[string]any{"any": n}}}, &inStructs, func() any { return inStructs["k"][0].Any }},
			{map[string]any{"any": n}, &holder, func() any { return holder.Any }},
		} {
			if err := carry(t, kind, test.v, test.dst); err != nil {
				t.Errorf("%s wire: %T: %v", kind, test.dst, err)
			} else if got := test.got(); got != n {
				t.Errorf("%s wire: %T: got %T %v", kind, test.dst, got, got)
			}
		}
		if kind == wire.JSON { // what the user wants as text stays so
			if err := carry(t, kind, n, &number); err != nil || number != "9007199254740993" {
				t.Errorf("json.Number: %q, %v", number, err)
			}
		}
	}
}

// TestDifferential sends values of JSON's data model over both wires.
func TestDifferential(t *testing.T) {
	t.Parallel()
	for _, v := range []any{
		nil, true, "x", 1, -1, 1.5, 3.0, 1e20, 1e21, -1e-7, 4611686018427387904.0, uint64(math.MaxUint64),
		[]any{}, []any{[]any{[]any{nil}}}, map[string]any{}, map[string]any{"": "", "λ": []any{1, "\u0000", 0.1}},
	} {
		var b, j any
		if err := carry(t, wire.Binary, v, &b); err != nil {
			t.Fatal(err)
		}
		if err := carry(t, wire.JSON, v, &j); err != nil {
			t.Fatal(err)
		}
		if !same(b, j) {
			t.Errorf("%v: binary gives %T %v, JSON %T %v", v, b, b, j, j)
		}
	}
}

func TestDroppedValues(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		text := written(t, true, kind, &wire.Message{Type: wire.TypeDo, Method: "m", Values: []any{"a", []any{1, 2}, 3}})
		var m wire.Message
		if err := reader(true, kind, 0, strings.NewReader(string(text))).Read(&m); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := m.Decode(nil, new(wire.None), &n); err != nil || n != 3 {
			t.Errorf("%s wire: %d, %v", kind, n, err)
		}
		if err := m.Decode(&n); err == nil {
			t.Errorf("%s wire: one destination for three values", kind)
		}
		for _, dst := range []any{(*string)(nil), (*int)(nil), (*any)(nil), (*[]byte)(nil), (*bool)(nil), (*float64)(nil), 5} {
			if err := m.Decode(nil, nil, dst); err == nil {
				t.Errorf("%s wire: decoded into a %T that points nowhere", kind, dst)
			}
		}
	}
}

func TestWrongType(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		for _, test := range []struct{ v, dst any }{
			{"s", new(int)}, {1, new(string)}, {1.5, new(int)}, {uint64(math.MaxUint64), new(int64)}, {-1, new(uint64)},
			{300, new(uint8)}, {"s", new(bool)}, {true, new(float64)}, {[]int{1}, new(map[string]int)}, {1, new([]byte)},
		} {
			err := carry(t, kind, test.v, test.dst)
			if e, ok := err.(*wire.CodecError); !ok || e.Op != "decode" {
				t.Errorf("%s wire: %T into %T: %v", kind, test.v, test.dst, err)
			}
		}
	}
}

func TestMarshal(t *testing.T) {
	t.Parallel()
	u, _ := url.Parse("http://user:pw@host/path?q#f")
	b, err := wire.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	var got url.URL
	if err := wire.Unmarshal(b, &got); err != nil || got.String() != u.String() {
		t.Errorf("%v, %v", &got, err)
	}
	if err := wire.Unmarshal(append(b, 0), &got); err == nil {
		t.Error("a byte after the value went unnoticed")
	}
	if _, err := wire.Marshal(make(chan int)); err == nil {
		t.Error("a channel was encoded")
	}
	ex := wire.Exit{Pid: 7, Code: -1, Signal: 11, Reason: wire.ExitCrashed, StderrHead: []byte("\xff"), Logs: &wire.LogDefer{
		Start: 1.5, Logs: []wire.LogRecord{{Offset: 0.1, Level: wire.LogWarn, Message: "m", Data: map[string]any{"k": int64(1)}}},
	}}
	var back wire.Exit
	if b, err = wire.Marshal(&ex); err != nil {
		t.Fatal(err)
	}
	if err := wire.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(ex, back) {
		t.Errorf("got %+v, %v", back, err)
	}
}
