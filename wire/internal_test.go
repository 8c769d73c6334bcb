package wire

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

// TestDirectPathsAgree: the plain types' own way gives the same bytes as fxamacker/cbor, and reads them alike.
func TestDirectPathsAgree(t *testing.T) {
	t.Parallel()
	values := []any{nil, "", "λ", strings.Repeat("x", 70_000), []byte(nil), []byte{}, []byte{1, 255}, make([]byte, 300), true, false}
	for _, f := range []float64{0, math.Copysign(0, -1), 1, -1.5, 1e300, math.MaxFloat64, math.Inf(1), math.Inf(-1), math.NaN()} {
		values = append(values, f, &f)
	}
	for shift := range 64 {
		for _, d := range []uint64{math.MaxUint64, 0, 1} { // -1, 0, 1
			u := uint64(1)<<shift + d
			i, n := int64(u), int(u)
			neg := -i
			values = append(values, u, i, n, neg, &u, &i, &n)
		}
	}
	s, b, yes := "s", []byte("b"), true
	values = append(values, &s, &b, &yes, (*string)(nil), (*[]byte)(nil), (*int)(nil), (*int64)(nil), (*uint64)(nil), (*bool)(nil), (*float64)(nil))
	for _, v := range values {
		direct, err := appendValue(nil, v)
		if err != nil {
			t.Fatalf("%T %v: %v", v, v, err)
		}
		lib, err := appendReflected(nil, v)
		if err != nil || !bytes.Equal(direct, lib) {
			t.Errorf("%T %v: directly % x, by the library % x, %v", v, v, direct, lib, err)
		}
		for _, dst := range [][2]any{
			{new(string), new(string)}, {new([]byte), new([]byte)}, {new(int), new(int)}, {new(int64), new(int64)},
			{new(uint64), new(uint64)}, {new(bool), new(bool)}, {new(float64), new(float64)}, {new(any), new(any)},
		} {
			_, err1 := decodeValue(direct, dst[0])
			_, err2 := decMode.UnmarshalFirst(direct, dst[1])
			a, _ := json.Marshal(dst[0])
			b, _ := json.Marshal(dst[1])
			if (err1 == nil) != (err2 == nil) || !bytes.Equal(a, b) {
				t.Errorf("% .20x into %T: directly %.50s, %v, by the library %.50s, %v", direct, dst[0], a, err1, b, err2)
			}
		}
	}
}

// TestScannerLooksOnce: a message that comes byte by byte costs no more than one that comes at once.
func TestScannerLooksOnce(t *testing.T) {
	t.Parallel()
	text := []byte(` ["do",{},"]\"[",[{"a":"\\"}]]["dn",{}]`)
	end := len(` ["do",{},"]\"[",[{"a":"\\"}]]`)
	var s jsonScanner
	for n := 0; n <= end; n++ {
		seen := bytes.Clone(text[:n])
		for i := range s.at { // what was looked at may be anything by now
			seen[i] = '"'
		}
		got, err := s.find(seen)
		if err != nil || n < end && got != 0 || n == end && got != end {
			t.Fatalf("after %d bytes: %d, %v", n, got, err)
		}
		if n == 1 && s.at != 0 {
			t.Errorf("white space moved the scanner to %d", s.at)
		}
	}
}

func TestScannerDepth(t *testing.T) {
	t.Parallel()
	for extra, want := range []bool{true, false} {
		text := strings.Repeat("[", maxJSONDepth+extra)
		if _, err := new(jsonScanner).find([]byte(text)); (err == nil) != want {
			t.Errorf("%d brackets: %v", len(text), err)
		}
	}
}

// TestLargeBytesAreShared: large bytes of a large frame are not copied, and appending to them hurts nobody.
func TestLargeBytesAreShared(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := NewClientConn(&out, Binary, 0)
	small := bytes.Repeat([]byte("s"), 40_000) // a frame of these alone lies in the connection's buffer
	for _, values := range [][]any{{make([]byte, 1<<20), make([]byte, 1<<20)}, {small}} {
		if err := w.Write(&Message{Type: TypeDo, Method: "m", Values: values}); err != nil {
			t.Fatal(err)
		}
	}
	r := NewWorkerConn(source{&out}, Binary, 0)
	var m Message
	var a, b, c []byte
	if err := r.Read(&m); err != nil {
		t.Fatal(err)
	}
	if err := m.Decode(&a, &b); err != nil || &b[len(b)-1] != &m.body[len(m.body)-1] {
		t.Errorf("large bytes were copied, %v", err)
	}
	if _ = append(a, "xxxxxxxxxx"...); b[0] != 0 || m.body[len(m.body)-len(b)-1] == 'x' {
		t.Error("what was appended to the first value reached the second")
	}
	if err := r.Read(&m); err != nil {
		t.Fatal(err)
	}
	if err := m.Decode(&c); err != nil {
		t.Fatal(err)
	}
	clear(r.in)
	if !bytes.Equal(c, small) {
		t.Error("decoded bytes are the connection's buffer")
	}
}

// TestDetach: a detached message outlives the next Read.
func TestDetach(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{Binary, JSON} {
		var out bytes.Buffer
		w := NewClientConn(&out, kind, 0)
		if err := w.Write(&Message{Type: TypeDo, Method: "m", Values: []any{"kept"}}); err != nil {
			t.Fatal(err)
		}
		r := NewWorkerConn(source{&out}, kind, 0)
		var m Message
		if err := r.Read(&m); err != nil {
			t.Fatal(err)
		}
		m.Detach()
		clear(r.in) // as the next Read would overwrite it
		var s string
		if err := m.Decode(&s); err != nil || s != "kept" {
			t.Errorf("%s wire: %q, %v", kind, s, err)
		}
	}
}

type source struct{ io.Reader }

func (source) Write(p []byte) (int, error) { return len(p), nil }

// TestBuffersAreGivenUp: a large message leaves no large buffer behind, on neither side.
func TestBuffersAreGivenUp(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{Binary, JSON} {
		var out bytes.Buffer
		w := NewWorkerConn(&out, kind, 0)
		for _, v := range []any{"small", strings.Repeat("x", 3<<20), make([]byte, 3<<20), []any{strings.Repeat("x", 3<<20)}, "small"} {
			if err := w.Write(&Message{Type: TypeOK, Values: []any{v}}); err != nil {
				t.Fatal(err)
			}
			if cap(w.out) > keepBuffer {
				t.Errorf("%s wire: a writer keeps %d bytes", kind, cap(w.out))
			}
		}
		r := NewClientConn(source{&out}, kind, 0)
		for i := range 5 {
			var m Message
			if err := r.Read(&m); err != nil {
				t.Fatal(err)
			}
			if i == 4 && len(r.in) > keepBuffer {
				t.Errorf("%s wire: a reader keeps %d bytes", kind, len(r.in))
			}
		}
	}
}

// TestPipelinedAfterLarge: thousands of small messages behind a large one in the same buffer are not copied again
// and again.
func TestPipelinedAfterLarge(t *testing.T) {
	t.Parallel()
	for _, follow := range []string{`["dn",{}]`, `["do",{},"` + strings.Repeat("x", 70_000) + `"]`} {
		testPipelined(t, follow, 3<<19/len(follow))
	}
}

func testPipelined(t *testing.T, follow string, small int) {
	text := `["do",{},"` + strings.Repeat("x", 2<<20) + `"]` + strings.Repeat(follow, small)
	r := NewWorkerConn(source{strings.NewReader(text)}, JSON, 0)
	var copied int
	var m Message
	for i := range small + 1 {
		before := &r.in[0]
		if err := r.Read(&m); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if before != &r.in[0] {
			copied += r.to - r.from
		}
	}
	if copied > 4*len(text) {
		t.Errorf("reading %d bytes moved %d", len(text), copied)
	}
	if len(r.in) > keepBuffer {
		t.Errorf("%d bytes are kept", len(r.in))
	}
}

// TestBufferStaysBounded: a message without an end takes no more memory than the limit.
func TestBufferStaysBounded(t *testing.T) {
	t.Parallel()
	const limit = 1000
	endless := io.MultiReader(strings.NewReader(`["do",{},"`), source{repeat('x')})
	r := NewWorkerConn(source{endless}, JSON, limit)
	err := r.Read(new(Message))
	if _, ok := err.(*ProtocolError); !ok || len(r.in) > limit+envelope {
		t.Errorf("%d bytes, %v", len(r.in), err)
	}
}

type repeat byte

func (c repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c)
	}
	return len(p), nil
}

func TestLimitsAreClamped(t *testing.T) {
	t.Parallel()
	c := NewWorkerConn(source{}, Binary, math.MaxInt64)
	c.SetMaxOut(math.MaxInt64)
	if c.maxIn > math.MaxUint32-envelope || c.maxOut > math.MaxUint32-envelope {
		t.Errorf("limits of %d and %d don't fit a frame's length", c.maxIn, c.maxOut)
	}
	if c = NewWorkerConn(source{}, Binary, -1); c.maxIn != DefaultMaxMessage {
		t.Errorf("default %d", c.maxIn)
	}
}

// textual encodes itself; what is in it is its own affair.
type textual struct{ raw string }

func (x textual) MarshalText() ([]byte, error) { return []byte("ok"), nil }

func TestCheckValue(t *testing.T) {
	t.Parallel()
	for _, v := range []any{
		nil, (*string)(nil), 1, "s", []byte{0xff}, [1]byte{0xff}, textual{"\xff"}, &textual{"\xff"}, time.Now(), map[textual]int{{"\xff"}: 1},
		json.RawMessage("\xff"), struct{ a string }{"\xff"}, struct{ F func() }{},
		struct {
			A string `json:"-"`
		}{"\xff"},
		struct {
			A string `cbor:"-"`
		}{"\xff"},
	} {
		if err := checkValue(v); err != nil {
			t.Errorf("%T: %v", v, err)
		}
	}
	for _, v := range []any{
		"\xff", map[string]any{"k": []string{"\xff"}}, [1]string{"\xff"}, [][][]string{{{"\xff"}}},
		struct {
			A string `json:"-" cbor:"a"`
		}{"\xff"},
		struct {
			//lint:ignore SA5008 it is meant to be odd: the key is "-"
			A string `json:"-,"`
		}{"\xff"},
	} {
		if err := checkValue(v); err == nil {
			t.Errorf("%T passed", v)
		}
	}
}
