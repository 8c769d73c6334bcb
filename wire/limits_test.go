package wire_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/bullpen-go/bullpen/wire"
)

// frame returns a frame of the binary wire, with a client's first byte before it.
func frame(typ wire.Type, flags byte, method string, body []byte) []byte {
	b := []byte{wire.FirstByte, 0, 0, 0, 0, byte(typ), flags}
	b = binary.BigEndian.AppendUint16(b, uint16(len(method)))
	b = append(b, make([]byte, 12)...) // id and run
	b = append(append(b, method...), body...)
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-5))
	return b
}

func nested(open, close string, depth int) string {
	return strings.Repeat(open, depth) + strings.Repeat(close, depth)
}

// TestAccepted is what stands next to a violation and is none.
func TestAccepted(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"\n [ \"do\" , {} , \"m\" , 1 , [ ] , { } ]\n",
		`["do",{}]`,
		`["do",{},{"a":{"a":[{"a":1},{"a":2}]},"b":1}]`,
		`["do",{},{` + manyKeys(100) + `}]`,
		`["do",{},"\ud834\uddda\\ud834\\\"\u0061"]`,
		`["do",{},` + nested("[", "]", wire.MaxDepth) + `]`,
		`["do",{},` + strings.Repeat("1", 10_000) + `]`,
		`["do",{},"][}{\"",[[]]]`,
		`["er",{},{"perl":"object"}]`,
		`["er",{"err":7},null]`,
	} {
		c := reader(true, wire.JSON, 0, &pieces{text: []byte(text), size: 1})
		var m wire.Message
		if err := readPatiently(c, &m); err != nil {
			t.Errorf("%.60s: %v", text, err)
			continue
		}
		if got, want := any(tree(t, &m)), trees(t, []byte(text))[0]; m.Type == wire.TypeDo && !same(got, want) {
			t.Errorf("%.60s: got %v", text, got)
		}
	}
}

// TestBadValues: what only concerns the user's values is a *CodecError, and the connection goes on.
func TestBadValues(t *testing.T) {
	t.Parallel()
	deep := append(bytes.Repeat([]byte{0x81}, 10_000), 0)
	for name, body := range map[string][]byte{
		"invalid UTF-8":        {0x81, 0x61, 0xff},
		"invalid UTF-8 inside": {0x81, 0x81, 0x61, 0xff},
		"duplicate key":        {0x81, 0xa2, 0x61, 'a', 0, 0x61, 'a', 0},
		"key is no string":     {0x81, 0xa1, 0, 0},
		"cut short":            {0x81, 0x19, 1},
		"length beyond":        {0x81, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"array beyond":         {0x81, 0x9b, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff},
		"map beyond":           {0x81, 0xbb, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff},
		"trailing byte":        {0x81, 0, 0},
		"unknown simple value": {0x81, 0xe0},
		"reserved head":        {0x81, 0x1c},
		"break alone":          {0x81, 0xff},
		"too deep":             deep,
	} {
		text := append(frame(wire.TypeDo, 0, "m", body), frame(wire.TypeDn, 0, "", nil)[1:]...)
		c := reader(true, wire.Binary, 0, bytes.NewReader(text))
		var m wire.Message
		if err := c.Read(&m); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, err := m.DecodeAll()
		if e, ok := err.(*wire.CodecError); !ok || e.SafeToRetry() {
			t.Errorf("%s: decoded with %v", name, err)
		}
		if err := c.Read(&m); err != nil || m.Type != wire.TypeDn {
			t.Errorf("%s: next message: %v, %v", name, m.Type, err)
		}
	}
	var m wire.Message
	c := reader(true, wire.JSON, 0, strings.NewReader(`["do",{},"m",1e999]["dn",{}]`))
	if err := c.Read(&m); err != nil {
		t.Fatal(err)
	}
	if _, err := m.DecodeAll(); err == nil {
		t.Error("1e999 was decoded")
	}
	if err := c.Read(&m); err != nil || m.Type != wire.TypeDn {
		t.Errorf("next message: %v, %v", m.Type, err)
	}
}

type link struct{ Next *link }

type loop []loop

type hiddenCycle struct {
	Name   string
	Parent *hiddenCycle `json:"-"`
}

func unsendable() map[string]any {
	cycle := &link{}
	cycle.Next = cycle
	slice := make(loop, 1)
	slice[0] = slice
	m := map[string]any{}
	m["m"] = m
	var p any
	p = &p
	deep := any(1)
	for range wire.MaxDepth + 1 {
		deep = []any{deep}
	}
	return map[string]any{
		"cyclic struct": cycle, "cyclic slice": slice, "cyclic map": m, "cyclic pointer": p, "too deep": deep,
		"channel": make(chan int), "function": func() {}, "invalid UTF-8": "\xff", "invalid UTF-8 inside": []string{"\xff"},
		"invalid UTF-8 in a key": map[string]int{"\xff": 1}, "invalid UTF-8 in a field": inner{Name: "\xff"},
		"invalid UTF-8, embedded": outer{inner: inner{Name: "\xff"}}, "surrogate": json.RawMessage(`"\ud834"`),
		"duplicate": json.RawMessage(`{"a":1,"a":2}`), "no JSON": json.RawMessage(`{`), "raw UTF-8": json.RawMessage("\"\xff\""),
	}
}

// TestUnsendable: an argument that can't be sent is an error, and nothing of it was.
func TestUnsendable(t *testing.T) {
	t.Parallel()
	for name, v := range unsendable() {
		for _, kind := range bothKinds {
			for _, m := range []*wire.Message{
				{Type: wire.TypeDo, Method: "m", Values: []any{1, v}},
				{Type: wire.TypeDo, Method: "m", Values: []any{&v}},
				{Type: wire.TypeOK, Values: []any{v}},
				{Type: wire.TypeDn, Meta: map[string]any{"k": v}},
			} {
				var out bytes.Buffer
				c := wire.NewClientConn(pipe{nil, &out}, kind, 0)
				err := c.Write(m)
				if e, ok := err.(*wire.CodecError); !ok || !wire.SafeToRetry(err) || e.Op != "encode" {
					t.Errorf("%s wire: %s: %v", kind, name, err)
				}
				if out.Len() != 0 {
					t.Errorf("%s wire: %s: %d bytes were sent", kind, name, out.Len())
				}
				if err := c.Write(&wire.Message{Type: wire.TypeDn}); err != nil {
					t.Errorf("%s wire: after %s: %v", kind, name, err)
				}
			}
		}
	}
}

func TestSendable(t *testing.T) {
	t.Parallel()
	self := &hiddenCycle{Name: "n"}
	self.Parent = self
	deep := any(int64(1))
	for range wire.MaxDepth {
		deep = []any{deep}
	}
	for _, kind := range bothKinds {
		var h hiddenCycle
		if err := carry(t, kind, self, &h); err != nil || h.Name != "n" {
			t.Errorf("%s wire: a cycle that isn't sent: %v", kind, err)
		}
		var d any
		if err := carry(t, kind, deep, &d); err != nil || !same(d, deep) {
			t.Errorf("%s wire: %d levels: %v", kind, wire.MaxDepth, err)
		}
		inPointers := &deep
		if err := carry(t, kind, &inPointers, &d); err != nil || !same(d, deep) {
			t.Errorf("%s wire: %d levels behind pointers: %v", kind, wire.MaxDepth, err)
		}
	}
}

// TestErrorsAlwaysArrive: a handler's error is sent, whatever bytes are in it.
func TestErrorsAlwaysArrive(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		text := written(t, false, kind, &wire.Message{Type: wire.TypeEr, Err: &wire.RemoteError{Message: "bad \xff", Code: "c"}},
			&wire.Message{Type: wire.TypeEr})
		c := reader(false, kind, 0, bytes.NewReader(text))
		var m wire.Message
		if err := c.Read(&m); err != nil || *m.Err != (wire.RemoteError{Message: "bad \ufffd", Code: "c"}) {
			t.Errorf("%s wire: %+v, %v", kind, m.Err, err)
		}
		if err := c.Read(&m); err != nil || *m.Err != (wire.RemoteError{}) {
			t.Errorf("%s wire: %+v, %v", kind, m.Err, err)
		}
	}
	var m wire.Message
	hello := &wire.Hello{Name: "\xff", Setup: &wire.SetupError{Message: "\xfe"}}
	c := reader(false, wire.Binary, 0, bytes.NewReader(written(t, false, wire.Binary, &wire.Message{Type: wire.TypeHello, Hello: hello})))
	if err := c.Read(&m); err != nil || m.Hello.Setup.Message != "\ufffd" || hello.Setup.Message != "\xfe" {
		t.Errorf("%+v, %v", m.Hello, err)
	}
}

// TestClaimsCostNothing: a length or a count that is only claimed takes no memory. Not parallel: it measures.
func TestClaimsCostNothing(t *testing.T) {
	claims := [][]byte{
		{0xb1, 0xff, 0xff, 0xff, 0xff},
		frame(wire.TypeDo, 0, "m", []byte{0x81, 0x9a, 0x7f, 0xff, 0xff, 0xff}),
		frame(wire.TypeDo, 0, "m", []byte{0x81, 0xba, 0x7f, 0xff, 0xff, 0xff}),
		frame(wire.TypeDo, 0, "m", []byte{0x81, 0x5a, 0x7f, 0xff, 0xff, 0xff}),
		frame(wire.TypeDo, 0, "m", []byte{0x81, 0x7a, 0x7f, 0xff, 0xff, 0xff}),
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, text := range claims {
		var m wire.Message
		if reader(true, wire.Binary, 0, bytes.NewReader(text)).Read(&m) == nil {
			if _, err := m.DecodeAll(); err == nil {
				t.Errorf("% x was decoded", text)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("empty claims took %d bytes", took)
	}
}

// TestStreamErrors: what the stream says comes back as it is.
func TestStreamErrors(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		c := reader(true, kind, 0, pipe{Reader: errReader{os.ErrClosed}})
		if err := c.Read(new(wire.Message)); err != os.ErrClosed {
			t.Errorf("%s wire: %v", kind, err)
		}
		c = reader(true, kind, 0, errReader{nil})
		if err := c.Read(new(wire.Message)); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("%s wire: a reader that returns nothing: %v", kind, err)
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
