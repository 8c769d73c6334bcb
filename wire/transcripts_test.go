package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bullpen-go/bullpen/wire"
)

// recorded is all that one side said on one connection of a recorded scenario.
type recorded struct {
	name   string
	client bool
	text   []byte
}

// transcripts reads the recorded streams of AnyEvent::Task.
func transcripts(t testing.TB) []recorded {
	t.Helper()
	files, err := filepath.Glob("../testdata/transcripts/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	var all []recorded
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		index := map[string]int{}
		for d := json.NewDecoder(bytes.NewReader(text)); ; {
			var line struct {
				Conn       int
				From, Data string
			}
			if err := d.Decode(&line); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if line.Data == "" {
				continue
			}
			key := fmt.Sprintf("%s/%d/%s", strings.TrimSuffix(filepath.Base(file), ".jsonl"), line.Conn, line.From)
			if _, ok := index[key]; !ok {
				index[key] = len(all)
				all = append(all, recorded{name: key, client: line.From == "client"})
			}
			all[index[key]].text = append(all[index[key]].text, line.Data...)
		}
	}
	return all
}

// trees decodes a stream of JSON values with encoding/json alone.
func trees(t testing.TB, text []byte) (all []any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	for {
		var v any
		if err := d.Decode(&v); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, numbers(t, v))
	}
}

// numbers replaces each json.Number by what the wire makes of it.
func numbers(t testing.TB, v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, ok := new(big.Int).SetString(string(v), 10); ok {
			if i.IsInt64() {
				return i.Int64()
			}
			return i
		}
		f, err := v.Float64()
		if err != nil {
			t.Fatal(err)
		}
		return f
	case []any:
		for i := range v {
			v[i] = numbers(t, v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(t, v[k])
		}
	}
	return v
}

// tree is the JSON array that a read message stands for.
func tree(t testing.TB, m *wire.Message) []any {
	t.Helper()
	meta := map[string]any{}
	for k, v := range m.Meta {
		meta[k] = v
	}
	all := []any{m.Type.String(), meta}
	switch m.Type {
	case wire.TypeDo:
		if m.Method != "" {
			all = append(all, m.Method)
		}
		fallthrough
	case wire.TypeOK:
		vals, err := m.DecodeAll()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, vals...)
	case wire.TypeEr:
		all = append(all, m.Err.Message)
	}
	return all
}

func TestTranscripts(t *testing.T) {
	t.Parallel()
	for _, rec := range transcripts(t) {
		t.Run(rec.name, func(t *testing.T) {
			t.Parallel()
			want := trees(t, rec.text)
			sizes := []int{len(rec.text), 1, 2, 3, 7, 100}
			if len(rec.text) < 1000 { // and cut once at every byte, which is pieces of every size
				for n := range len(rec.text) {
					sizes = append(sizes, n+1)
				}
			}
			for _, size := range sizes {
				c := reader(rec.client, wire.JSON, 0, &pieces{text: rec.text, size: size})
				for i, w := range want {
					var m wire.Message
					if err := readPatiently(c, &m); err != nil {
						t.Fatalf("pieces of %d, message %d: %v", size, i, err)
					}
					if got := tree(t, &m); !same(any(got), w) {
						t.Fatalf("pieces of %d, message %d: got %v, want %v", size, i, got, w)
					}
				}
				if err := readPatiently(c, new(wire.Message)); err != io.EOF {
					t.Fatalf("pieces of %d: %v after the last message, want EOF", size, err)
				}
			}
		})
	}
}

// TestTranscriptsRewritten writes what was read: with our writer it must be the same JSON.
func TestTranscriptsRewritten(t *testing.T) {
	t.Parallel()
	for _, rec := range transcripts(t) {
		c := reader(rec.client, wire.JSON, 0, bytes.NewReader(rec.text))
		var out []byte
		for {
			var m wire.Message
			if err := c.Read(&m); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			var err error
			if m.Values, err = m.DecodeAll(); err != nil {
				t.Fatal(err)
			}
			text := written(t, false, wire.JSON, &m)
			if n := bytes.Count(text, []byte("\n")); n != 1 || text[len(text)-1] != '\n' {
				t.Fatalf("%s: %q is not one line", rec.name, text)
			}
			out = append(out, text...)
		}
		if got, want := trees(t, out), trees(t, rec.text); !same(got, want) {
			t.Errorf("%s: wrote %v, want %v", rec.name, got, want)
		}
	}
}

// TestCutShort ends every stream at every byte: each end is either clean or noticed.
func TestCutShort(t *testing.T) {
	t.Parallel()
	for _, rec := range transcripts(t) {
		if len(rec.text) > 1000 {
			continue
		}
		for _, kind := range []wire.Kind{wire.JSON, wire.Binary} {
			text, whole := rec.text, ends(rec.text)
			if kind == wire.Binary {
				text, whole = rewritten(t, rec)
			}
			for n := range len(text) {
				c := reader(rec.client, kind, 0, bytes.NewReader(text[:n]))
				err := error(nil)
				for err == nil {
					err = c.Read(new(wire.Message))
				}
				want := io.ErrUnexpectedEOF
				if whole[n] {
					want = io.EOF
				}
				if !errors.Is(err, want) || want == io.EOF && err != io.EOF {
					t.Fatalf("%s, %s wire, cut after %d bytes: %v, want %v", rec.name, kind, n, err, want)
				}
			}
		}
	}
}

// ends returns the offsets at which a JSON stream is between two messages.
func ends(text []byte) map[int]bool {
	at := map[int]bool{0: true}
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var v any
		if d.Decode(&v) != nil {
			return at
		}
		at[int(d.InputOffset())] = true
	}
}

// rewritten returns a JSON recording on the binary wire, and the offsets between its messages.
func rewritten(t testing.TB, rec recorded) (text []byte, whole map[int]bool) {
	t.Helper()
	whole = map[int]bool{0: true}
	if rec.client {
		text = []byte{wire.FirstByte}
		whole[1] = true
	}
	c := reader(rec.client, wire.JSON, 0, bytes.NewReader(rec.text))
	for {
		var m wire.Message
		if c.Read(&m) != nil {
			return text, whole
		}
		m.Values, _ = m.DecodeAll()
		text = append(text, written(t, false, wire.Binary, &m)...)
		whole[len(text)] = true
	}
}
