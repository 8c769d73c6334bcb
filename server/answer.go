//go:build linux || darwin

package server

import (
	"bytes"
	"io"
	"net"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// What clients of a Listen address may ask: how the worker has ended that they were connected to. A client that got
// its connection over a control socket is told without asking.
const (
	keepExits  = 64              // the last ones
	answerTime = 5 * time.Second // for a question, and the end that it waits for
)

// exits remembers how the last workers ended. The supervisor's mu guards it.
type exits struct {
	list []*wire.Exit // the oldest first
}

func (x *exits) add(e *wire.Exit) {
	if len(x.list) == keepExits {
		x.list = append(x.list[:0], x.list[1:]...)
	}
	x.list = append(x.list, e)
}

func (x *exits) find(a wire.Ask) *wire.Exit {
	for _, e := range x.list {
		if e.Pid == a.Pid && e.Number == a.Number {
			return e
		}
	}
	return nil
}

// answer answers a question whose first byte may have been read already.
func (s *supervisor) answer(c net.Conn, read ...byte) {
	c.SetDeadline(time.Now().Add(answerTime))
	question := struct {
		io.Reader
		io.Writer
	}{io.MultiReader(bytes.NewReader(read), c), c}
	err := wire.AnswerExit(question, func(a wire.Ask) *wire.Exit {
		for _, w := range s.all() {
			if w.proc.Pid == a.Pid && w.number == a.Number {
				t := time.NewTimer(answerTime)
				defer t.Stop()
				select {
				case <-w.over:
				case <-t.C:
				}
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.exits.find(a)
	})
	if err != nil {
		s.logger.Debug("a question about a worker's end was not answered", "error", err)
	}
}
