package bare

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/pauses"
)

// Questions to the worker itself: the length's top bit is set, and the rest of it says which one. The answer is a
// message with JSON in it.
const (
	question    = 1 << 31
	beginPauses = question + 1
	endPauses   = question + 2
)

// BeginPauses starts a probe of package pauses in the worker.
func (w *Worker) BeginPauses() error { return w.ask(beginPauses, new(pauses.Report)) }

// EndPauses ends the probe and returns what it has seen.
func (w *Worker) EndPauses() (r pauses.Report, err error) {
	err = w.ask(endPauses, &r)
	return r, err
}

func (w *Worker) ask(what uint32, reply any) error {
	if _, err := w.conn.Write(binary.BigEndian.AppendUint32(nil, what)); err != nil {
		return err
	}
	n, have, err := w.head()
	if err != nil {
		return err
	}
	text := make([]byte, n)
	copy(text, w.buf[4:4+have])
	if _, err := io.ReadFull(w.conn, text[have:]); err != nil {
		return err
	}
	return json.Unmarshal(text, reply)
}

// answer answers a question.
func answer(s stream, what int) error {
	var r pauses.Report
	switch what {
	case beginPauses:
		pauses.Begin()
	case endPauses:
		r = pauses.End()
	default:
		return fmt.Errorf("unknown question %#x", what)
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.writeBoth(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text)
}
