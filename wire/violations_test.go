package wire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bullpen-go/bullpen/wire"
)

// violation is what is no message.
type violation struct {
	name string
	text string
	is   error
}

const largestBody = 1000 // of violations that are too large

// binaryViolations are on the binary wire.
var binaryViolations = []violation{
	{"wrong first byte", "\xb2", nil},
	{"JSON on the binary wire", "[", nil},
	{"largest length", "\xb1\xff\xff\xff\xff", wire.ErrTooLarge},
	{"length 0", "\xb1\x00\x00\x00\x00", nil},
	{"shorter than a header", "\xb1\x00\x00\x00\x0f", nil},
	{"unknown type", string(frame(99, 0, "", nil)), nil},
	{"unknown flag", string(frame(wire.TypeDn, 4, "", nil)), nil},
	{"method longer than the frame", "\xb1\x00\x00\x00\x10\x02\x00\x00\x01" + strings.Repeat("\x00", 12), nil},
	{"meta longer than the frame", string(frame(wire.TypeDn, 2, "", []byte{0, 0, 0, 1})), nil},
	{"meta without length", string(frame(wire.TypeDn, 2, "", []byte{0, 0})), nil},
	{"meta is a list", string(frame(wire.TypeDn, 2, "", []byte{0, 0, 0, 1, 0x80})), nil},
	{"meta too large", string(frame(wire.TypeDn, 2, "", append([]byte{0, 0x10, 0, 0}, make([]byte, 1<<20)...))), wire.ErrTooLarge},
	{"body too large", string(frame(wire.TypeDo, 0, "m", append([]byte{0x80}, make([]byte, largestBody)...))), wire.ErrTooLarge},
	{"arguments are no array", string(frame(wire.TypeDo, 0, "m", []byte{0xf6})), nil},
	{"no arguments", string(frame(wire.TypeDo, 0, "m", nil)), nil},
	{"more arguments than bytes", string(frame(wire.TypeDo, 0, "m", []byte{0x9b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})), nil},
	{"ok with two results", string(frame(wire.TypeOK, 0, "", []byte{0x82, 0, 0})), nil},
	{"er without error", string(frame(wire.TypeEr, 0, "", nil)), nil},
	{"dn with a body", string(frame(wire.TypeDn, 0, "", []byte{0})), nil},
}

// jsonViolations are on the JSON wire.
var jsonViolations = []violation{
	{"binary on the JSON wire", "\xb1", nil},
	{"byte order mark", "\ufeff[]", nil},
	{"object", `{"a":1}`, nil},
	{"number", ` 1`, nil},
	{"empty", `[]`, nil},
	{"command only", `["dn"]`, nil},
	{"unknown command", `["hi",{}]`, nil},
	{"command is a number", `[1,{}]`, nil},
	{"meta is a list", `["dn",[]]`, nil},
	{"meta is null", `["dn",null]`, nil},
	{"dn with an argument", `["dn",{},1]`, nil},
	{"ok without result", `["ok",{}]`, nil},
	{"ok with two results", `["ok",{},1,2]`, nil},
	{"er without message", `["er",{}]`, nil},
	{"er with two messages", `["er",{},"a","b"]`, nil},
	{"wrong brackets", `["do",{},[}]`, nil},
	{"comma at the end", `["do",{},1,]`, nil},
	{"no comma", `["do" {}]`, nil},
	{"invalid number", `["do",{},01]`, nil},
	{"raw control character", "[\"do\",{},\"\x01\"]", nil},
	{"invalid UTF-8", "[\"do\",{},\"\xff\"]", nil},
	{"UTF-8 of a surrogate", "[\"do\",{},\"\xed\xa0\x80\"]", nil},
	{"high surrogate alone", `["do",{},"\ud834x"]`, nil},
	{"high surrogate at the end", `["do",{},"\ud834"]`, nil},
	{"two high surrogates", `["do",{},"\ud834\ud834"]`, nil},
	{"high surrogate before another escape", `["do",{},"\ud834\n"]`, nil},
	{"low surrogate alone", `["do",{},"\uDDDA"]`, nil},
	{"surrogate in a key", `["do",{},{"\uddda":1}]`, nil},
	{"surrogate in the method", `["do",{},"\uddda"]`, nil},
	{"duplicate key", `["do",{},{"a":1,"b":{"a":1},"a":2}]`, nil},
	{"duplicate key in the meta", `["do",{"a":1,"a":1}]`, nil},
	{"duplicate key, escaped", `["do",{},{"a":1,"\u0061":2}]`, nil},
	{"duplicate among many keys", `["do",{},{` + manyKeys(100) + `,"k77":1}]`, nil},
	{"too deep", `["do",{},` + nested("[", "]", wire.MaxDepth+1) + `]`, nil},
	{"10,000 nested arrays", strings.Repeat("[", 10_000), nil},
	{"10,000 nested objects", `["do",` + strings.Repeat(`{"a":`, 10_000), nil},
	{"endless number", `["do",{},` + strings.Repeat("1", 10_001) + `]`, nil},
	{"meta number out of range", `["do",{"a":1e999}]`, nil},
}

// TestViolations: what is no message is a *ProtocolError, whether it comes at once or byte by byte.
func TestViolations(t *testing.T) {
	t.Parallel()
	for kind, all := range map[wire.Kind][]violation{wire.Binary: binaryViolations, wire.JSON: jsonViolations} {
		for _, test := range all {
			t.Run(kind.String()+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				test.refused(t, kind)
			})
		}
	}
}

// refused reads it in one piece, and in several.
func (v violation) refused(t *testing.T, kind wire.Kind) {
	t.Helper()
	limit := int64(1 << 20)
	if v.is != nil {
		limit = largestBody
	}
	for _, size := range []int{len(v.text), min(1+len(v.text)/100_000, 50)} {
		c := reader(true, kind, limit, &pieces{text: []byte(v.text), size: size})
		err := readPatiently(c, new(wire.Message))
		var p *wire.ProtocolError
		if !errors.As(err, &p) || v.is != nil && !errors.Is(err, v.is) {
			t.Errorf("pieces of %d: %v", size, err)
		}
	}
}

func manyKeys(n int) string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(`"k%d":%d`, i, i)
	}
	return strings.Join(keys, ",")
}
