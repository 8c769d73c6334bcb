package wire_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/bullpen-go/bullpen/wire"
)

// everyMessage is one message of each type, with every field set that the type has.
func everyMessage() []*wire.Message {
	meta := map[string]any{"ld": map[string]any{"start": 1.5, "logs": []any{[]any{0.1, int64(30), "m"}}}, "n": int64(1<<53 + 1)}
	return []*wire.Message{
		{Type: wire.TypeHello, Hello: &wire.Hello{Version: 1, MaxMessage: 1 << 40, Name: "n", Pid: 7, Number: 8, Hook: true, Build: "b",
			Setup: &wire.SetupError{Service: "s", Message: "m", Type: "t", Code: "c", Stack: "st", Pid: 9}}},
		{Type: wire.TypeDo, ID: math.MaxUint32, Last: true, Method: "λ\"m\n", Meta: meta, Values: []any{int64(1), "two", nil, []any{3.5}}},
		{Type: wire.TypeDo, Method: "none"},
		{Type: wire.TypeOK, ID: 2, Run: math.MaxInt64, Meta: meta, Values: []any{nil}},
		{Type: wire.TypeOK, Values: []any{map[string]any{"k": []any{}}}},
		{Type: wire.TypeEr, ID: 3, Run: 5, Meta: meta, Err: &wire.RemoteError{Message: "m\n", Type: "*t", Code: "c", Stack: "s\ns"}},
		{Type: wire.TypeEr, Err: &wire.RemoteError{Message: "only"}},
		{Type: wire.TypeDn, Meta: meta},
		{Type: wire.TypeDn},
		{Type: wire.TypeAck, ID: 4},
		{Type: wire.TypeCancel, ID: 5},
	}
}

func TestEveryMessage(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		var want []*wire.Message
		for _, m := range everyMessage() {
			if kind == wire.JSON {
				if m.Type == wire.TypeHello || m.Type == wire.TypeAck || m.Type == wire.TypeCancel {
					continue // not written
				}
				m.ID, m.Last, m.Run = 0, false, 0
			}
			want = append(want, m)
		}
		text := written(t, true, kind, everyMessage()...)
		for size := 1; size <= len(text); size++ {
			c := reader(true, kind, 0, &pieces{text: text, size: size})
			var m wire.Message // one for all, as in a worker's loop
			for i, w := range want {
				if err := readPatiently(c, &m); err != nil {
					t.Fatalf("%s wire, pieces of %d: message %d: %v", kind, size, i, err)
				}
				if d := sameMessage(&m, w); d != "" {
					t.Fatalf("%s wire, pieces of %d: message %d: %s differs: got %+v, want %+v", kind, size, i, d, m, w)
				}
				vals, err := m.DecodeAll()
				if err != nil || len(vals)+len(w.Values) > 0 && !reflect.DeepEqual(vals, w.Values) {
					t.Fatalf("%s wire, pieces of %d: message %d: got %v, %v, want %v", kind, size, i, vals, err, w.Values)
				}
			}
			if err := readPatiently(c, &m); err != io.EOF {
				t.Fatalf("%s wire: %v after the last message", kind, err)
			}
		}
	}
}

// TestJSONText compares what is written with what AnyEvent::Task would.
func TestJSONText(t *testing.T) {
	t.Parallel()
	name := "secret<&>"
	for _, test := range []struct {
		m    wire.Message
		want string
	}{
		{wire.Message{Type: wire.TypeDo, Method: "hash", Values: []any{&name, 10}}, `["do",{},"hash","secret<&>",10]`},
		{wire.Message{Type: wire.TypeDo, Values: []any{[]string{"<&>"}}}, `["do",{},["<&>"]]`},
		{wire.Message{Type: wire.TypeDo, ID: 7, Last: true}, `["do",{}]`},
		{wire.Message{Type: wire.TypeDo, Values: []any{nil, []any{}, map[string]any{}}}, `["do",{},null,[],{}]`},
		{wire.Message{Type: wire.TypeOK, Run: 5, Values: []any{wire.None{}}}, `["ok",{},null]`},
		{wire.Message{Type: wire.TypeOK, Values: []any{"tab\t\"\\/é\u2028"}}, `["ok",{},"tab\t\"\\/é\u2028"]`},
		{wire.Message{Type: wire.TypeEr, Err: &wire.RemoteError{Message: "ouch\n"}}, `["er",{},"ouch\n"]`},
		{wire.Message{Type: wire.TypeEr, Meta: map[string]any{"z": 1}, Err: &wire.RemoteError{Message: "m", Type: "t", Code: "c"}},
			`["er",{"err":{"code":"c","type":"t"},"z":1},"m"]`},
		{wire.Message{Type: wire.TypeDn}, `["dn",{}]`},
	} {
		if got := string(written(t, false, wire.JSON, &test.m)); got != test.want+"\n" {
			t.Errorf("wrote %q, want %q", got, test.want)
		}
	}
}

// TestOpening: a client's stream begins with its byte, once, and a worker's doesn't.
func TestOpening(t *testing.T) {
	t.Parallel()
	for kind, first := range map[wire.Kind]string{wire.Binary: "\xb1", wire.JSON: "\n"} {
		if k, ok := wire.KindOf(first[0]); !ok || k != kind {
			t.Errorf("%q stands for %v, %v", first, k, ok)
		}
		dn := &wire.Message{Type: wire.TypeDn}
		plain := string(written(t, false, kind, dn, dn))
		if got := string(written(t, true, kind, dn, dn)); got != first+plain {
			t.Errorf("%s wire: a client wrote %q, a worker %q", kind, got, plain)
		}
		var out bytes.Buffer
		c := wire.NewClientConn(pipe{nil, &out}, kind, 0)
		for range 2 {
			if err := c.Open(); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Write(dn); err != nil || out.String() != first+plain[:len(plain)/2] {
			t.Errorf("%s wire: opened and wrote %q, %v", kind, out.String(), err)
		}
		w := wire.NewWorkerConn(pipe{nil, &out}, kind, 0)
		if out.Reset(); w.Open() != nil || out.Len() != 0 {
			t.Errorf("%s wire: a worker opened with %q", kind, out.String())
		}
	}
	if _, ok := wire.KindOf('G'); ok {
		t.Error("HTTP passed for a wire")
	}
	hello := &wire.Message{Type: wire.TypeHello, Hello: &wire.Hello{Version: 1}}
	if got := written(t, true, wire.JSON, hello); string(got) != "\n" {
		t.Errorf("a JSON client's hello is %q", got)
	}
	if got := written(t, false, wire.JSON, hello); len(got) != 0 {
		t.Errorf("a JSON worker's hello is %q", got)
	}
}

// TestSpaceBetweenMessages: white space costs no memory and is no half message.
func TestSpaceBetweenMessages(t *testing.T) {
	t.Parallel()
	space := strings.Repeat(" \r\n\t", 1<<20)
	c := reader(true, wire.JSON, 1000, strings.NewReader(space+`["dn",{}]`+space+`["dn",{}]`+space))
	var m wire.Message
	for range 2 {
		if err := c.Read(&m); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Read(&m); err != io.EOF {
		t.Errorf("%v after the last message", err)
	}
}

// TestLargeBytes sends a large []byte through a socket: as the last argument it isn't copied on its way out.
func TestLargeBytes(t *testing.T) {
	t.Parallel()
	big := make([]byte, 1<<20)
	for i := range big {
		big[i] = byte(i * 7 >> 3)
	}
	a, b := net.Pipe()
	client, worker := wire.NewClientConn(a, wire.Binary, 0), wire.NewWorkerConn(b, wire.Binary, 0)
	const rounds = 3
	sent := make(chan error, 1)
	go func() {
		for i := range rounds {
			var last any = big
			if i == 1 {
				last = &big
			}
			for _, values := range [][]any{{"first", last}, {big, "last"}, {1}} {
				if err := client.Write(&wire.Message{Type: wire.TypeDo, ID: uint32(i), Method: "m", Values: values}); err != nil {
					sent <- err
					return
				}
			}
		}
		sent <- a.Close()
	}()
	var kept [][]byte
	for i := range rounds {
		var m wire.Message
		var s string
		var p []byte
		for j := range 2 {
			dst := []any{&s, &p}
			if j == 1 {
				dst = []any{&p, &s}
			}
			if err := worker.Read(&m); err != nil || m.ID != uint32(i) {
				t.Fatalf("message %d: %v", m.ID, err)
			}
			if err := m.Decode(dst...); err != nil || !bytes.Equal(p, big) || s != []string{"first", "last"}[j] {
				t.Fatalf("round %d: %d bytes, %q, %v", i, len(p), s, err)
			}
			_ = append(p, "must not reach what follows"...)
			kept = append(kept, p)
		}
		if err := worker.Read(&m); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	for i, p := range kept { // what was decoded belongs to the handler
		if !bytes.Equal(p, big) {
			t.Errorf("value %d was overwritten by a later message", i)
		}
		clear(p)
	}
	if bytes.Equal(big, kept[0]) {
		t.Error("the worker's bytes are the client's")
	}
}

// TestDecodedIsOwn: what was decoded stays when the connection reads on.
func TestDecodedIsOwn(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		for _, size := range []int{100, 40_000, 70_000} {
			var text []byte
			for i := range 5 {
				fill := strings.Repeat(fmt.Sprint(i), size)
				text = append(text, written(t, false, kind, &wire.Message{Type: wire.TypeDo, Method: "m",
					Values: []any{[]byte(fill), fill, []any{fill}}})...)
			}
			if kind == wire.Binary {
				text = append([]byte{wire.FirstByte}, text...)
			}
			c := reader(true, kind, 0, bytes.NewReader(text))
			var raws [5][]byte
			var strs [5]string
			var anys [5]any
			for i := range 5 {
				var m wire.Message
				if err := c.Read(&m); err != nil {
					t.Fatal(err)
				}
				if err := m.Decode(&raws[i], &strs[i], &anys[i]); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 5 {
				want := strings.Repeat(fmt.Sprint(i), size)
				if string(raws[i]) != want || strs[i] != want || anys[i].([]any)[0] != want {
					t.Errorf("%s wire: message %d of %d bytes has changed", kind, i, size)
				}
			}
		}
	}
}

// TestReadBesideWrite has a worker read while it writes, as it does to hear of a cancel. The race detector judges.
func TestReadBesideWrite(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		a, b := net.Pipe()
		client, worker := wire.NewClientConn(a, kind, 0), wire.NewWorkerConn(b, kind, 0)
		const n = 100
		errs := make(chan error, 3)
		write := func(c *wire.Conn, typ wire.Type) {
			for range n {
				if err := c.Write(&wire.Message{Type: typ, Values: []any{"x"}}); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}
		go write(worker, wire.TypeOK)
		go write(client, wire.TypeDo)
		go func() {
			var m wire.Message
			for range n {
				if err := worker.Read(&m); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
		var m wire.Message
		for range n {
			if err := client.Read(&m); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	}
}

// TestProtocolExample holds the code against the example that PROTOCOL.md gives byte by byte.
func TestProtocolExample(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "### An example")
	text, _, _ = strings.Cut(text, "### CBOR rules")
	blocks := strings.Split(text, "```")
	if len(blocks) != 5 {
		t.Fatalf("%d blocks", len(blocks))
	}
	for i, m := range []*wire.Message{
		{Type: wire.TypeDo, ID: 1, Last: true, Method: "echo", Values: []any{"hi"}},
		{Type: wire.TypeOK, ID: 1, Run: 1000, Values: []any{"hi"}},
	} {
		var want string
		for line := range strings.Lines(blocks[2*i+1]) {
			line, _, _ = strings.Cut(strings.ReplaceAll(line, "  ", " "), "   ")
			for _, word := range strings.Fields(line) {
				if _, err := hex.DecodeString(word); err != nil || len(word) != 2 {
					break // the comment begins
				}
				want += word
			}
		}
		if got := hex.EncodeToString(written(t, false, wire.Binary, m)); got != want {
			t.Errorf("%s: wrote %s, the document says %s", m.Type, got, want)
		}
	}
}
