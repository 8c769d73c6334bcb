package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

const (
	// maxJSONDepth is how deep a message may be nested: its values, and the array around them.
	maxJSONDepth = MaxDepth + 1
	// maxNumber is how long a JSON number may be. Reading a longer one would cost time by the square of its length.
	maxNumber = 10_000
)

// jsonScanner finds the end of a message in a stream of JSON arrays. It only counts brackets, outside of strings:
// whether the text between them is JSON is for checkJSON to say. The zero value stands before a message.
type jsonScanner struct {
	at       int // bytes looked at since the last message's end; 0 while there was only white space
	depth    int
	inString bool
	escaped  bool // the last byte was a backslash in a string
}

// find looks for the end of the message that b begins with. Between two calls for the same message b may only grow:
// each byte is looked at once. n is the message's length with the white space before it, or 0 if more is needed.
func (s *jsonScanner) find(b []byte) (n int, err error) {
	i := s.at
	if i == 0 {
		i = skipSpace(b, 0)
		if i == len(b) {
			return 0, nil
		}
		if b[i] != '[' {
			return 0, violation("a message begins with byte %#x instead of '['", b[i])
		}
	}
	for ; i < len(b); i++ {
		c := b[i]
		if s.inString {
			switch {
			case s.escaped:
				s.escaped = false
			case c == '\\':
				s.escaped = true
			case c == '"':
				s.inString = false
			}
			continue
		}
		switch c {
		case '"':
			s.inString = true
		case '[', '{':
			if s.depth++; s.depth > maxJSONDepth {
				return 0, violation("a message is nested deeper than %d levels", MaxDepth)
			}
		case ']', '}':
			if s.depth--; s.depth == 0 {
				return i + 1, nil
			}
		}
	}
	s.at = len(b)
	return 0, nil
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// jsonCheck refuses what encoding/json lets pass or mends: text that isn't UTF-8, halves of surrogate pairs,
// an object's key that comes twice, deep nesting and endless numbers. The text must be valid JSON otherwise.
type jsonCheck struct {
	text  []byte
	open  []jsonLevel
	split bool  // collect the elements of the array that text is
	elems []raw // parts of text
	from  int   // where the present element begins
}

// jsonLevel is an open array or object. Of an object it holds the keys so far.
type jsonLevel struct {
	keys []raw
	many map[string]struct{} // those after the first fewKeys
}

// fewKeys is the number of keys up to which comparing them all is faster than a map.
const fewKeys = 16

// checkJSON says what is wrong with text, which should be one JSON value that is nested at most depth levels.
func checkJSON(text []byte, depth int) error {
	c := jsonCheck{text: text}
	return c.run(depth)
}

// splitJSON checks text, which should be a JSON array of a message's nesting, and returns its elements.
func splitJSON(text []byte) ([]raw, error) {
	c := jsonCheck{text: text, split: true, elems: make([]raw, 0, 8), open: make([]jsonLevel, 0, 4)}
	if err := c.run(maxJSONDepth); err != nil {
		return nil, err
	}
	return c.elems, nil
}

func (c *jsonCheck) run(depth int) error {
	if !json.Valid(c.text) {
		return json.Unmarshal(c.text, new(json.RawMessage)) // says where
	}
	if !utf8.Valid(c.text) {
		return errors.New("the text is not valid UTF-8")
	}
	for i := 0; i < len(c.text); {
		var err error
		switch b := c.text[i]; b {
		case '[', '{':
			if len(c.open) == depth {
				return fmt.Errorf("nested deeper than %d levels", MaxDepth)
			}
			c.push()
			if i++; len(c.open) == 1 {
				c.from = i
			}
		case ']', '}':
			c.element(i, false)
			c.open = c.open[:len(c.open)-1]
			i++
		case ',':
			c.element(i, true)
			i++
		case '"':
			i, err = c.str(i)
		case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			i, err = c.number(i)
		default:
			i++
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// push opens a level. It uses the memory of a closed one.
func (c *jsonCheck) push() {
	n := len(c.open)
	if n == cap(c.open) {
		c.open = append(c.open, jsonLevel{})
		return
	}
	c.open = c.open[:n+1]
	c.open[n] = jsonLevel{keys: c.open[n].keys[:0]}
}

// element notes the end of one of the outermost array's elements.
func (c *jsonCheck) element(end int, more bool) {
	if !c.split || len(c.open) != 1 {
		return
	}
	if e := bytes.TrimSpace(c.text[c.from:end]); len(e) > 0 || more {
		c.elems = append(c.elems, e)
	}
	c.from = end + 1
}

// number checks the number at i and returns its end.
func (c *jsonCheck) number(i int) (int, error) {
	end := i
	for end < len(c.text) {
		switch b := c.text[end]; {
		case b >= '0' && b <= '9', b == '-', b == '+', b == '.', b == 'e', b == 'E':
			end++
			continue
		}
		break
	}
	if end-i > maxNumber {
		return 0, fmt.Errorf("a number has %d characters; %d are allowed", end-i, maxNumber)
	}
	return end, nil
}

// str checks the string that begins at i and returns its end. A string before a colon is a key.
func (c *jsonCheck) str(i int) (int, error) {
	end, plain := i+1, true
	for c.text[end] != '"' {
		if c.text[end] != '\\' {
			end++
			continue
		}
		plain = false
		size, err := checkEscape(c.text[end:])
		if err != nil {
			return 0, err
		}
		end += size
	}
	end++
	if next := skipSpace(c.text, end); next < len(c.text) && c.text[next] == ':' {
		return end, c.open[len(c.open)-1].add(c.text[i:end], plain)
	}
	return end, nil
}

// checkEscape checks the escape that b begins with and returns its length: 2, 6, or 12 for a surrogate pair.
func checkEscape(b []byte) (int, error) {
	if b[1] != 'u' {
		return 2, nil
	}
	switch r := hex4(b[2:]); {
	case r >= 0xdc00 && r < 0xe000:
		return 0, fmt.Errorf("the escape %s is half of a surrogate pair", b[:6])
	case r >= 0xd800 && r < 0xdc00:
		if b[6] != '\\' || b[7] != 'u' || hex4(b[8:])&^0x3ff != 0xdc00 {
			return 0, fmt.Errorf("the escape %s is half of a surrogate pair", b[:6])
		}
		return 12, nil
	}
	return 6, nil
}

// hex4 reads four hexadecimal digits.
func hex4(b []byte) (n rune) {
	for _, c := range b[:4] {
		switch {
		case c <= '9':
			c -= '0'
		default:
			c = c&^0x20 - 'A' + 10
		}
		n = n<<4 | rune(c)
	}
	return n
}

// add notes a key of an object.
func (l *jsonLevel) add(quoted []byte, plain bool) error {
	key := quoted[1 : len(quoted)-1]
	if !plain {
		var s string
		if err := json.Unmarshal(quoted, &s); err != nil {
			return err
		}
		key = []byte(s)
	}
	if l.has(key) {
		return fmt.Errorf("an object has the key %q twice", key)
	}
	if len(l.keys) < fewKeys {
		l.keys = append(l.keys, key)
		return nil
	}
	if l.many == nil {
		l.many = make(map[string]struct{}, 2*fewKeys)
	}
	l.many[string(key)] = struct{}{}
	return nil
}

func (l *jsonLevel) has(key []byte) bool {
	for _, k := range l.keys {
		if bytes.Equal(k, key) {
			return true
		}
	}
	_, ok := l.many[string(key)]
	return ok
}
