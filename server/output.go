//go:build linux || darwin

package server

import (
	"bytes"
	"os"
	"strings"

	"github.com/bullpen-go/bullpen/internal/tail"
)

const maxLine = 4 << 10 // a longer line is forwarded in pieces

// forward reads what the worker prints and logs it line by line, in bounded memory.
func (w *child) forward(r *os.File, stream string) {
	defer w.output.Done()
	pipe := &tail.Reader{File: r}
	buf := make([]byte, maxLine)
	have := 0
	for {
		n, err := pipe.Read(buf[have:])
		if stream == "stderr" {
			w.stderr.Write(buf[have : have+n])
		}
		have += n
		rest := buf[:have]
		for {
			line, after, found := bytes.Cut(rest, []byte{'\n'})
			if !found {
				break
			}
			w.printed(stream, line)
			rest = after
		}
		if len(rest) == len(buf) || (err != nil && len(rest) > 0) {
			w.printed(stream, rest)
			rest = nil
		}
		have = copy(buf, rest)
		if err != nil {
			return
		}
	}
}

// printed logs a line of the worker's.
func (w *child) printed(stream string, line []byte) {
	if w.dumping.Load() {
		return // it goes into the exit
	}
	text := strings.ToValidUTF8(strings.TrimRight(string(line), "\r"), "\uFFFD")
	w.sup.logger.Info(text, "service", w.sup.srv.Service.name, "pid", w.proc.Pid, "worker", w.number, "stream", stream)
}
