package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const fuzzLimit = 64 << 10

func FuzzWorkerReadsBinary(f *testing.F) { fuzzReads(f, Binary, true) }
func FuzzClientReadsBinary(f *testing.F) { fuzzReads(f, Binary, false) }
func FuzzWorkerReadsJSON(f *testing.F)   { fuzzReads(f, JSON, true) }
func FuzzClientReadsJSON(f *testing.F)   { fuzzReads(f, JSON, false) }

// fuzzReads lets one side read hostile bytes in pieces of any size. Whatever it takes for a message must be one
// that it can write and that reads the same again.
func fuzzReads(f *testing.F, kind Kind, worker bool) {
	for i, s := range seeds(f, kind, worker) {
		f.Add(s, uint16(i))
	}
	f.Fuzz(func(t *testing.T, text []byte, piece uint16) {
		c := fuzzConn(&cutter{text, int(piece) + 1}, kind, worker)
		var m Message
		for {
			err := c.Read(&m)
			if int64(len(c.in)) > fuzzLimit+envelope+4 {
				t.Fatalf("a buffer of %d bytes", len(c.in))
			}
			if err != nil {
				var p *ProtocolError
				if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.As(err, &p) {
					t.Fatalf("%T: %v", err, err)
				}
				return
			}
			rewrite(t, &m, kind, worker)
		}
	})
}

func fuzzConn(r io.Reader, kind Kind, worker bool) *Conn {
	if worker {
		return NewWorkerConn(source{r}, kind, fuzzLimit)
	}
	return NewClientConn(source{r}, kind, fuzzLimit)
}

// cutter returns its text in pieces.
type cutter struct {
	text []byte
	size int
}

func (c *cutter) Read(p []byte) (int, error) {
	if len(c.text) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.text[:min(c.size, len(c.text))])
	c.text = c.text[n:]
	return n, nil
}

// rewrite writes the message that was read and reads it again.
func rewrite(t *testing.T, m *Message, kind Kind, worker bool) {
	vals, err := m.DecodeAll()
	if err != nil {
		var e *CodecError
		if !errors.As(err, &e) {
			t.Fatalf("%T: %v", err, err)
		}
		return
	}
	for i := range vals { // typed destinations must not panic either
		for _, dst := range []any{new(string), new([]byte), new(int), new(uint64), new(bool), new(float64), new(fuzzStruct), new(time.Time), new(json.RawMessage)} {
			all := make([]any, len(vals))
			all[i] = dst
			_ = m.Decode(all...)
		}
		if i == 3 { // enough
			break
		}
	}
	w := *m
	w.Values = vals
	var out bytes.Buffer
	// The writer stands on the other side of the reader. A value may take more room than it did: base64, escapes.
	writer := newConn(&out, kind, 16*fuzzLimit)
	writer.first = worker
	if err := writer.Write(&w); err != nil {
		if errors.Is(err, ErrTooLarge) || strings.Contains(err.Error(), "nested deeper") || unwritable(vals) || unwritable([]any{m.Meta}) {
			return
		}
		t.Fatalf("what was read can't be written: %v\n%#v", err, w)
	}
	var again Message
	if err := newRewriteReader(&out, kind, worker).Read(&again); err != nil {
		t.Fatalf("what was written can't be read: %v\n%#v", err, w)
	}
	if again.Type != m.Type || again.ID != m.ID || again.Run != m.Run || !reflect.DeepEqual(again.Err, m.Err) ||
		again.Type == TypeDo && (again.Method != m.Method || kind == Binary && again.Last != m.Last) {
		t.Fatalf("read again as %#v instead of %#v", again, w)
	}
	vals2, err := again.DecodeAll()
	if err != nil {
		t.Fatalf("what was written can't be decoded: %v\n%#v", err, w)
	}
	if !alike(vals, vals2) || !alike(len(m.Meta) == 0, len(again.Meta) == 0) || len(m.Meta) > 0 && !alike(m.Meta, again.Meta) {
		t.Fatalf("decoded again as %#v instead of %#v", vals2, vals)
	}
}

func newRewriteReader(out *bytes.Buffer, kind Kind, worker bool) *Conn {
	c := newConn(source{out}, kind, 16*fuzzLimit)
	c.first = !worker
	return c
}

type fuzzStruct struct {
	Name string          `json:"name"`
	Any  any             `json:"any"`
	List []fuzzStruct    `json:"list"`
	Map  map[string]any  `json:"map"`
	Raw  json.RawMessage `json:"raw"`
	When time.Time       `json:"when"`
	N    int8            `json:"n"`
	Big  *big.Int        `json:"big"`
}

// unwritable reports whether v holds a time that RFC 3339 has no form for.
func unwritable(v any) bool {
	switch v := v.(type) {
	case time.Time:
		_, err := v.MarshalText()
		return err != nil
	case []any:
		for _, e := range v {
			if unwritable(e) {
				return true
			}
		}
	case map[string]any:
		for _, e := range v {
			if unwritable(e) {
				return true
			}
		}
	}
	return false
}

// alike compares decoded values, numbers as numbers.
func alike(a, b any) bool {
	switch x := a.(type) {
	case time.Time:
		y, ok := b.(time.Time)
		return ok && x.Equal(y)
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !alike(x[i], y[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for k := range x {
			if e, ok := y[k]; !ok || !alike(x[k], e) {
				return false
			}
		}
		return true
	}
	x, xInt, xNum := numeral(a)
	y, yInt, yNum := numeral(b)
	switch {
	case !xNum || !yNum:
		return reflect.DeepEqual(a, b)
	case xInt != nil && yInt != nil:
		return xInt.Cmp(yInt) == 0
	}
	return x == y || x != x && y != y
}

// numeral returns a decoded number as a float64, and as an integer if it is one.
func numeral(v any) (f float64, i *big.Int, ok bool) {
	switch v := v.(type) {
	case float64:
		return v, nil, true
	case int64:
		i = big.NewInt(v)
	case *big.Int:
		i = v
	default:
		return 0, nil, false
	}
	f, _ = new(big.Float).SetInt(i).Float64()
	return f, i, true
}

// FuzzDifferential carries a JSON value over both codecs.
func FuzzDifferential(f *testing.F) {
	for _, s := range []string{
		`null`, `[1,-1,0.5,1e300,-0,-0.0,9007199254740993,18446744073709551615,123456789012345678901234567890,1E20,1e-400]`,
		`{"a":{"":[]},"\u0000":"\ud834\udd1e\u2028<&>"}`, `{"a":1,"a":2}`, `"\ud800"`, `[[[[[]]]]]`, `4611686018427388001.0`,
	} {
		f.Add([]byte(s))
	}
	for _, s := range seeds(f, JSON, false) {
		f.Add(bytes.TrimSpace(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var v any
		if err := decodeJSON(text, &v); err != nil {
			return
		}
		var plain any // whatever we take, encoding/json takes, but for numbers that no float64 holds
		plainly := json.NewDecoder(bytes.NewReader(text))
		plainly.UseNumber()
		if err := plainly.Decode(&plain); err != nil {
			t.Fatalf("encoding/json: %v", err)
		}
		for _, codec := range []struct {
			name   string
			encode func(any) ([]byte, error)
			decode func([]byte, any) error
		}{
			{"CBOR", func(v any) ([]byte, error) { return appendValue(nil, v) }, func(b []byte, dst any) error {
				rest, err := decodeValue(b, dst)
				if len(rest) != 0 {
					t.Fatalf("%d bytes follow", len(rest))
				}
				return err
			}},
			{"JSON", encodeJSON, decodeJSON},
		} {
			b, err := codec.encode(v)
			if err != nil {
				t.Fatalf("%s: encode: %v", codec.name, err)
			}
			var got any
			if err := codec.decode(b, &got); err != nil {
				t.Fatalf("%s: decode: %v", codec.name, err)
			}
			if !alike(v, got) {
				t.Fatalf("%s: %#v became %#v", codec.name, v, got)
			}
		}
	})
}

// seeds returns the recorded streams of one direction, on the JSON wire or translated to the binary one.
func seeds(f *testing.F, kind Kind, client bool) (all [][]byte) {
	files, err := filepath.Glob("../testdata/transcripts/*.jsonl")
	if err != nil || len(files) == 0 {
		f.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var stream []byte
		lines := bufio.NewScanner(bytes.NewReader(text))
		for lines.Buffer(nil, 1<<20); lines.Scan(); {
			var line struct{ From, Data string }
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				f.Fatal(err)
			}
			if (line.From == "client") == client {
				stream = append(stream, line.Data...)
			}
		}
		if len(stream) > 4<<10 {
			stream = []byte(`["ok",{},"` + strings.Repeat("x", 4<<10) + `"]`)
		}
		all = append(all, stream)
	}
	if kind == JSON {
		return append(all, []byte(`["er",{"err":{"type":"t","code":"c","stack":"s"},"x":1},"m"]`))
	}
	for i, stream := range all {
		all[i] = translate(f, stream, client)
	}
	var out bytes.Buffer
	c := newConn(&out, Binary, 0)
	c.first = client
	for _, m := range []*Message{
		{Type: TypeHello, Hello: &Hello{Version: 1, Name: "n", Hook: true, Setup: &SetupError{Message: "m"}}},
		{Type: TypeOK, Values: []any{[]any{time.Unix(1, 5), []byte("raw"), new(big.Int).Lsh(big.NewInt(-3), 90), 1.5}}},
		{Type: TypeEr, ID: 9, Err: &RemoteError{Message: "m", Code: "c"}, Meta: map[string]any{"ld": map[string]any{"start": 1.5}}},
		{Type: TypeAck}, {Type: TypeCancel, ID: 3},
	} {
		if err := c.Write(m); err != nil {
			f.Fatal(err)
		}
	}
	return append(all, out.Bytes())
}

func translate(f *testing.F, stream []byte, client bool) []byte {
	var out bytes.Buffer
	w := newConn(&out, Binary, 0)
	w.first = client
	r := fuzzConn(bytes.NewReader(stream), JSON, true)
	for {
		var m Message
		if r.Read(&m) != nil {
			return out.Bytes()
		}
		m.Values, _ = m.DecodeAll()
		if err := w.Write(&m); err != nil {
			f.Fatal(err)
		}
	}
}
