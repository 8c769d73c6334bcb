package wire

import (
	"bytes"
	"fmt"
)

// The commands that a JSON message begins with.
var jsonCommands = map[Type]string{TypeDo: "do", TypeOK: "ok", TypeEr: "er", TypeDn: "dn"}

// metaError is the key under which our own workers put a RemoteError's fields into the meta of an er. A peer that
// doesn't know it still has the message.
const metaError = "err"

// parseJSONMessage fills m from the text of a message, of which m keeps parts.
func parseJSONMessage(text []byte, m *Message) error {
	m.reset()
	m.kind = JSON
	parts, err := splitJSON(text)
	if err != nil {
		return &ProtocolError{Message: "a message is not JSON", Err: err}
	}
	if len(parts) < 2 {
		return violation("a message of %d elements", len(parts))
	}
	if m.Type, err = parseCommand(parts[0], len(parts)); err != nil {
		return err
	}
	if err := parseJSONMeta(parts[1], m); err != nil {
		return err
	}
	rest := parts[2:]
	switch m.Type {
	case TypeDo:
		m.Method, m.values = parseMethod(rest, m.Method)
	case TypeOK:
		m.values = rest
	case TypeEr:
		m.Err = parseJSONError(rest[0], m)
	}
	return nil
}

func parseCommand(text raw, elements int) (Type, error) {
	if text[0] != '"' {
		return 0, violation("a message's command is %.40s instead of a string", text)
	}
	word := text[1 : len(text)-1]
	if bytes.IndexByte(word, '\\') >= 0 { // nobody writes a command with escapes, but it is JSON
		var s string
		if err := decodeChecked(text, &s); err != nil {
			return 0, &ProtocolError{Message: "a message's command", Err: err}
		}
		word = []byte(s)
	}
	for t, name := range jsonCommands {
		if name != string(word) {
			continue
		}
		want := 3 // ok and er
		if t == TypeDn {
			want = 2
		}
		if t != TypeDo && elements != want {
			return 0, violation("%s has %d elements instead of %d", name, elements, want)
		}
		return t, nil
	}
	return 0, violation("unknown command %.40q", word)
}

// parseMethod takes the method off a call's arguments. It returns last, the call's before, if it is the same. An
// empty method stays an argument, as it couldn't be told from none.
func parseMethod(args []raw, last string) (method string, rest []raw) {
	if len(args) == 0 || args[0][0] != '"' || len(args[0]) == 2 {
		return "", args
	}
	if text := args[0]; string(text[1:len(text)-1]) == last && plainString(last) {
		return last, args[1:]
	}
	var name string
	if decodeChecked(args[0], &name) != nil {
		return "", args
	}
	return name, args[1:]
}

func parseJSONMeta(text raw, m *Message) error {
	if text[0] != '{' {
		return violation("the meta of %s is not an object", m.Type)
	}
	if len(text) == 2 {
		return nil
	}
	if err := decodeChecked(text, &m.Meta); err != nil {
		return &ProtocolError{Message: "the meta of " + m.Type.String(), Err: err}
	}
	if len(m.Meta) == 0 {
		m.Meta = nil
	}
	return nil
}

// parseJSONError reads the message of an er, and takes what our own workers say about the error out of m's meta.
func parseJSONError(text raw, m *Message) *RemoteError {
	re := new(RemoteError)
	if text[0] != '"' || decodeChecked(text, &re.Message) != nil {
		re.Message = string(text) // not a string: a Perl handler may die with any value
	}
	if own, ok := m.Meta[metaError].(map[string]any); ok {
		re.Type, _ = own["type"].(string)
		re.Code, _ = own["code"].(string)
		re.Stack, _ = own["stack"].(string)
		if delete(m.Meta, metaError); len(m.Meta) == 0 {
			m.Meta = nil
		}
	}
	return re
}

// jsonBody returns the size of what MaxMessage counts of a message that was read: its values with the commas
// between them.
func jsonBody(values []raw) (size int64) {
	for _, v := range values {
		size += int64(len(v)) + 1
	}
	return max(size-1, 0)
}

// appendJSONMessage appends m as one line. Of a message that this wire doesn't have it appends nothing.
func appendJSONMessage(b []byte, m *Message, maxBody int64) ([]byte, error) {
	start := len(b)
	command, ok := jsonCommands[m.Type]
	if !ok {
		return b, nil
	}
	b = append(append(append(b, `["`...), command...), `",`...)
	var err error
	if b, err = appendJSONMeta(b, m); err != nil {
		return b[:start], err
	}
	if m.Type == TypeDo && m.Method != "" {
		at := len(b) + 1
		if b, err = appendJSON(append(b, ','), m.Method); err != nil {
			return b[:start], fmt.Errorf("the method's name: %w", err)
		}
		if n := len(b) - at; n > maxMethod {
			return b[:start], fmt.Errorf("a method's name has %d bytes; %d are allowed", n, maxMethod)
		}
	}
	body := len(b) + 1
	if b, err = appendJSONBody(b, m); err != nil {
		return b[:start], err
	}
	if size := int64(len(b) - body); size > maxBody {
		return b[:start], fmt.Errorf("it has %d bytes, %w (%d)", size, ErrTooLarge, maxBody)
	}
	return append(b, "]\n"...), nil
}

// appendJSONBody appends what m carries, each value after a comma.
func appendJSONBody(b []byte, m *Message) ([]byte, error) {
	var err error
	switch m.Type {
	case TypeDo, TypeOK:
		if m.Type == TypeOK && len(m.Values) != 1 {
			return b, fmt.Errorf("an ok carries one result, not %d", len(m.Values))
		}
		for _, v := range m.Values {
			if b, err = appendJSON(append(b, ','), v); err != nil {
				return b, err
			}
		}
	case TypeEr:
		return appendJSON(append(b, ','), m.Err.valid().Message)
	}
	return b, nil
}

func appendJSONMeta(b []byte, m *Message) ([]byte, error) {
	meta := m.Meta
	if m.Type == TypeEr && m.Err != nil && m.Err.Type+m.Err.Code+m.Err.Stack != "" {
		re := m.Err.valid()
		meta = make(map[string]any, len(m.Meta)+1)
		for k, v := range m.Meta {
			meta[k] = v
		}
		own := map[string]any{}
		for k, v := range map[string]string{"type": re.Type, "code": re.Code, "stack": re.Stack} {
			if v != "" {
				own[k] = v
			}
		}
		meta[metaError] = own
	}
	if len(meta) == 0 {
		return append(b, "{}"...), nil
	}
	at := len(b)
	b, err := appendJSON(b, meta)
	if err != nil {
		return b, fmt.Errorf("meta: %w", err)
	}
	if size := len(b) - at; size > maxMeta {
		return b, fmt.Errorf("meta and log records have %d bytes, %w", size, ErrTooLarge)
	}
	return b, nil
}
