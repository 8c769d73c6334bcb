package wire_test

import (
	"bytes"
	"io"
	"math/big"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// pipe is one direction's input and the other's output, in memory.
type pipe struct {
	io.Reader
	io.Writer
}

// reader returns the reading side of a stream that holds text.
func reader(worker bool, kind wire.Kind, max int64, r io.Reader) *wire.Conn {
	if worker {
		return wire.NewWorkerConn(pipe{r, io.Discard}, kind, max)
	}
	return wire.NewClientConn(pipe{r, io.Discard}, kind, max)
}

// pieces gives its text in pieces of the given size, with a timeout before each.
type pieces struct {
	text  []byte
	size  int
	ready bool
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.text) == 0 {
		return 0, io.EOF
	}
	if p.ready = !p.ready; p.ready {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, p.text[:min(p.size, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

// readPatiently reads a message in spite of timeouts.
func readPatiently(c *wire.Conn, m *wire.Message) error {
	for {
		if err := c.Read(m); !os.IsTimeout(err) {
			return err
		}
	}
}

// written returns what Write sends for messages, a client's ones or a worker's.
func written(t testing.TB, client bool, kind wire.Kind, messages ...*wire.Message) []byte {
	t.Helper()
	var out bytes.Buffer
	c := wire.NewWorkerConn(pipe{nil, &out}, kind, 0)
	if client {
		c = wire.NewClientConn(pipe{nil, &out}, kind, 0)
	}
	for _, m := range messages {
		if err := c.Write(m); err != nil {
			t.Fatalf("write %s: %v", m.Type, err)
		}
	}
	return out.Bytes()
}

// carry sends v over a wire as a call's argument and decodes it into dst.
func carry(t testing.TB, kind wire.Kind, v, dst any) error {
	t.Helper()
	text := written(t, true, kind, &wire.Message{Type: wire.TypeDo, Method: "m", Values: []any{v}})
	var m wire.Message
	if err := reader(true, kind, 0, bytes.NewReader(text)).Read(&m); err != nil {
		t.Fatalf("%s wire: read %T: %v", kind, v, err)
	}
	return m.Decode(dst)
}

// same reports whether two decoded values are equal. Numbers are compared by value, as a float64 without fraction
// becomes an integer on the JSON wire.
func same(a, b any) bool {
	if x, ok := a.(time.Time); ok {
		y, ok := b.(time.Time)
		return ok && x.Equal(y)
	}
	if numeric(a) && numeric(b) {
		return sameNumber(a, b)
	}
	switch x := a.(type) {
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !same(x[i], y[i]) {
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
			if e, ok := y[k]; !ok || !same(x[k], e) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a, b)
}

func numeric(v any) bool {
	switch v.(type) {
	case int64, float64, *big.Int:
		return true
	}
	return false
}

func sameNumber(a, b any) bool {
	x, xf := a.(float64)
	y, yf := b.(float64)
	if !xf && !yf {
		return whole(a).Cmp(whole(b)) == 0
	}
	if !xf {
		x, _ = new(big.Float).SetInt(whole(a)).Float64()
	}
	if !yf {
		y, _ = new(big.Float).SetInt(whole(b)).Float64()
	}
	return x == y || x != x && y != y
}

func whole(v any) *big.Int {
	if i, ok := v.(int64); ok {
		return big.NewInt(i)
	}
	return v.(*big.Int)
}

// sameMessage reports what differs between two read messages. Their values are decoded by the caller.
func sameMessage(a, b *wire.Message) string {
	switch {
	case a.Type != b.Type:
		return "type"
	case a.ID != b.ID || a.Last != b.Last || a.Run != b.Run:
		return "header"
	case a.Type == wire.TypeDo && a.Method != b.Method:
		return "method"
	case len(a.Meta)+len(b.Meta) > 0 && !same(a.Meta, b.Meta):
		return "meta"
	case !reflect.DeepEqual(a.Err, b.Err):
		return "error"
	case !reflect.DeepEqual(a.Hello, b.Hello):
		return "hello"
	}
	return ""
}
