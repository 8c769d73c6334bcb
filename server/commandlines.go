package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// commandLines reads what a command says: one message a line, blank lines in between allowed.
type commandLines struct {
	from *commandOutput
	r    *bufio.Reader // of from
	max  int64         // of a line, in bytes
}

func newCommandLines(from *commandOutput, max int64) *commandLines {
	return &commandLines{from: from, r: bufio.NewReaderSize(from, 64<<10), max: max}
}

// errNoMessage says that a line can't be a message, which its first byte may show before the line has ended: a prompt
// has no end.
var errNoMessage = errors.New("no message")

var errStopped = fmt.Errorf("%w: the line stopped in the middle", errNoMessage)

// next returns the next line that isn't blank. With an error it returns what there is of the line.
func (l *commandLines) next() ([]byte, error) {
	if err := l.skipSpace(); err != nil {
		return nil, err
	}
	l.from.mid = true
	defer func() { l.from.mid = false }()
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case int64(len(line)) > l.max:
			return line, fmt.Errorf("%w: it is longer than %d bytes", errNoMessage, l.max)
		case err != bufio.ErrBufferFull:
			return line, err
		}
	}
}

// skipSpace reads up to the first byte of a message.
func (l *commandLines) skipSpace() error {
	for {
		b, err := l.r.ReadByte()
		switch {
		case err != nil:
			return err
		case b == ' ' || b == '\t' || b == '\r' || b == '\n':
			continue
		}
		l.r.UnreadByte()
		if b != '[' {
			return errNoMessage
		}
		return nil
	}
}

// buffered returns what the command has said beyond the last line, as far as it has arrived.
func (l *commandLines) buffered() []byte {
	b, _ := l.r.Peek(l.r.Buffered())
	return bytes.TrimSpace(b)
}

// maxQuote is how much of what a command said is quoted.
const maxQuote = 120

// quote quotes the start of what a command said.
func quote(said []byte) string {
	said = bytes.TrimSpace(said)
	more := ""
	if line, _, found := bytes.Cut(said, []byte{'\n'}); found {
		said, more = line, "…"
	}
	if len(said) > maxQuote {
		said, more = said[:maxQuote], "…"
	}
	return fmt.Sprintf("%q%s", strings.ToValidUTF8(string(said), "\uFFFD"), more)
}

// isUp reports whether a line is a command's announcement that it is set up.
func isUp(line []byte) bool {
	parts, err := jsonArray(line)
	return err == nil && len(parts) == 2 && string(parts[0]) == `"up"` && len(parts[1]) > 0 && parts[1][0] == '{'
}
