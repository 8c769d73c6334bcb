package wire_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/bullpen-go/bullpen/wire"
)

// TestMaxMessage finds the limit on both sides, to the byte.
func TestMaxMessage(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{100, 70_000} {
		for _, kind := range bothKinds {
			for _, v := range []func(int) any{
				func(n int) any { return strings.Repeat("x", n) },
				func(n int) any { return bytes.Repeat([]byte("x"), n) },
			} {
				message := func(n int) *wire.Message {
					return &wire.Message{Type: wire.TypeDo, Method: "m", Meta: map[string]any{"k": "v"}, Values: []any{1, v(n)}}
				}
				fits := 0 // the longest value that can be sent
				for step := int(limit); step > 0; {
					if trySend(kind, limit, message(fits+step)) == nil {
						fits += step
					} else {
						step /= 2
					}
				}
				if over := trySend(kind, limit, message(fits+1)); !errors.Is(over, wire.ErrTooLarge) || fits < int(limit)/2 {
					t.Errorf("%s wire: sent %d of %d: %v", kind, fits, limit, over)
				}
				// What fits on the way out fits on the way in, and one byte more doesn't.
				in := func(n int, limit int64) error {
					text := written(t, true, kind, message(n))
					return reader(true, kind, limit, bytes.NewReader(text)).Read(new(wire.Message))
				}
				if err := in(fits, limit); err != nil {
					t.Errorf("%s wire: %d bytes on the way in: %v", kind, fits, err)
				}
				if err := in(fits+1, limit); !errors.Is(err, wire.ErrTooLarge) {
					t.Errorf("%s wire: %d bytes on the way in: %v", kind, fits+1, err)
				}
			}
		}
	}
}

func trySend(kind wire.Kind, limit int64, m *wire.Message) error {
	c := wire.NewClientConn(pipe{nil, io.Discard}, kind, 0)
	c.SetMaxOut(limit)
	return c.Write(m)
}

func TestLongMethodAndMeta(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		if err := trySend(kind, 0, &wire.Message{Type: wire.TypeDo, Method: strings.Repeat("m", 65536)}); err == nil {
			t.Errorf("%s wire: a method of 65,536 bytes was sent", kind)
		}
		meta := map[string]any{"k": strings.Repeat("v", 1<<20)}
		if err := trySend(kind, 0, &wire.Message{Type: wire.TypeDn, Meta: meta}); !errors.Is(err, wire.ErrTooLarge) {
			t.Errorf("%s wire: a meta of more than 1 MiB: %v", kind, err)
		}
		m := &wire.Message{Type: wire.TypeDo, Method: strings.Repeat("m", 65533), Meta: map[string]any{"k": strings.Repeat("v", 1<<20-100)}}
		text := written(t, true, kind, m)
		var got wire.Message
		if err := reader(true, kind, 100, bytes.NewReader(text)).Read(&got); err != nil || got.Method != m.Method || sameMessage(&got, m) != "" {
			t.Errorf("%s wire: largest envelope: %v", kind, err)
		}
	}
}
