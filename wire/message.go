package wire

import (
	"fmt"
	"time"
)

// Kind names one of the two wires. The zero value is the binary wire.
type Kind int

const (
	Binary Kind = iota // length-prefixed frames with CBOR bodies: the default between bullpen's own processes
	JSON               // AnyEvent::Task's stream of JSON arrays
)

// String returns "binary" or "json".
func (k Kind) String() string {
	if k == JSON {
		return "json"
	}
	return "binary"
}

// Type is what a message is for. PROTOCOL.md has the table of who sends which.
type Type uint8

const (
	TypeHello  Type = 1 // both ways, first on a binary connection
	TypeDo     Type = 2 // client: a call
	TypeOK     Type = 3 // worker: the call's result
	TypeEr     Type = 4 // worker: the call's error
	TypeDn     Type = 5 // client: the checkout was released
	TypeAck    Type = 6 // worker: CheckoutDone has run (binary wire only)
	TypeCancel Type = 7 // client: the running call's context ended (binary wire only)
	TypeLane   Type = 8 // client: the memory that both will use instead of the socket; worker: whether they do (binary wire only)
)

// LaneLayout is the layout of shared memory that this version knows.
const LaneLayout = 1

var typeNames = [...]string{TypeHello: "hello", TypeDo: "do", TypeOK: "ok", TypeEr: "er",
	TypeDn: "dn", TypeAck: "ack", TypeCancel: "cancel", TypeLane: "lane"}

// String returns the type's name as PROTOCOL.md writes it.
func (t Type) String() string {
	if int(t) < len(typeNames) && typeNames[t] != "" {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Message is one message of either wire. A Conn fills it on Read and sends it on Write; a loop reuses one
// Message for many calls.
type Message struct {
	Type Type
	// ID numbers the calls of a connection, so that a cancel can't hit the call after the one it was meant
	// for. The JSON wire has no ids: they are 0 there.
	ID uint32
	// Last marks a call as its checkout's last one: no dn follows (binary wire only).
	Last bool
	// Method is a call's method. On the JSON wire it is empty if the first argument isn't a string.
	Method string
	// Run is how long the handler ran, in nanoseconds, in a reply (binary wire only).
	Run int64
	// Meta travels beside the arguments or the result. Nil and empty are the same.
	Meta map[string]any
	// Values are what a written message carries: a call's arguments, or a reply's result as the only one.
	// A pointer stands for what it points to. What was read is taken out with Decode.
	Values []any
	// Err is an er reply's error.
	Err *RemoteError
	// Hello is a hello's content.
	Hello *Hello

	body   []byte // binary, as read: the encoded values; valid until the next Read
	values []raw  // JSON, as read: the values, one by one; copies
	n      int    // number of values in body
	own    bool   // body's memory is this message's alone
	kind   Kind
}

// raw is one JSON value in its encoded form.
type raw = []byte

// reset forgets everything but what may be used again.
func (m *Message) reset() {
	method := m.Method // the same method called again costs no new string
	*m = Message{Method: method}
}

// Len returns the number of values that were read: a call's arguments, or 1 for a reply.
func (m *Message) Len() int {
	if m.kind == JSON {
		return len(m.values)
	}
	return m.n
}

// Decode decodes the values that were read into dst, one pointer a value, in order. A nil or *None entry drops
// its value. The number must match. Errors are *CodecError; the connection stays usable.
//
// Into an *any, both wires give nil, bool, string, int64, *big.Int for what int64 can't hold, float64, []any
// and map[string]any; the binary wire also []byte and time.Time.
func (m *Message) Decode(dst ...any) error {
	if m.Len() != len(dst) {
		return &CodecError{Op: "decode", What: m.what(), Err: fmt.Errorf("%d values were sent where %d are wanted", m.Len(), len(dst))}
	}
	var err error
	if m.kind == JSON {
		err = decodeJSONValues(m.values, dst)
	} else if len(m.body) > 0 { // only do and ok carry values
		err = decodeValues(m.body, dst, m.own)
	}
	if err != nil {
		return &CodecError{Op: "decode", What: m.what(), Err: err}
	}
	return nil
}

// DecodeAll decodes all values that were read, as Decode does into an *any.
func (m *Message) DecodeAll() ([]any, error) {
	vals := make([]any, m.Len())
	dst := make([]any, len(vals))
	for i := range vals {
		dst[i] = &vals[i]
	}
	if err := m.Decode(dst...); err != nil {
		return nil, err
	}
	return vals, nil
}

// Detach makes what m holds undecoded its own, so that it outlives the next Read.
func (m *Message) Detach() {
	if m.kind == Binary && !m.own {
		m.body = append([]byte(nil), m.body...)
		m.own = true
	}
}

// Forget drops what was read and not decoded, so that its memory can be freed before the next Read.
func (m *Message) Forget() { m.body, m.values, m.n = nil, nil, 0 }

// what names the message's values in an error.
func (m *Message) what() string {
	switch {
	case m.Type == TypeDo:
		return fmt.Sprintf("the arguments of %q", m.Method)
	case m.Type == TypeOK && m.Method != "":
		return fmt.Sprintf("the result of %q", m.Method)
	case m.Type == TypeOK:
		return "the result"
	default:
		return "the " + m.Type.String() + " message"
	}
}

// Hello is what both sides of a binary connection say first.
type Hello struct {
	Version    uint8  `cbor:"1,keyasint"`           // of the protocol; now 1
	MaxMessage int64  `cbor:"2,keyasint,omitempty"` // the largest body the sender takes, in bytes
	Name       string `cbor:"3,keyasint,omitempty"` // the pool's or the service's name
	Pid        int    `cbor:"4,keyasint,omitempty"` // the worker's process id
	Number     int    `cbor:"5,keyasint,omitempty"` // the worker's number, counted by its server from 1
	// Hook says that the worker wants to hear of every release and acknowledges it.
	Hook  bool        `cbor:"6,keyasint,omitempty"`
	Setup *SetupError `cbor:"7,keyasint,omitempty"` // the worker's setup failed; it ends after this
	// Grace is how long the worker gives a cancelled handler to return, before its client may have it killed.
	Grace time.Duration `cbor:"9,keyasint,omitempty"`
	Build string        `cbor:"8,keyasint,omitempty"` // the sender's build id, to tell two versions of a program apart
	// Lane is the layout of shared memory that the sender can use instead of the socket; 0 is none. PROTOCOL.md describes 1.
	Lane uint8 `cbor:"10,keyasint,omitempty"`
}

// valid returns h with what isn't UTF-8 in it replaced, so that a worker can always say why its setup failed.
func (h *Hello) valid() *Hello {
	if h == nil {
		return &Hello{}
	}
	v := *h
	v.Name, v.Build = validText(h.Name), validText(h.Build)
	if h.Setup != nil {
		s := *h.Setup
		s.Service, s.Message, s.Type = validText(s.Service), validText(s.Message), validText(s.Type)
		s.Code, s.Stack = validText(s.Code), validText(s.Stack)
		v.Setup = &s
	}
	return &v
}
