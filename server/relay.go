package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// relay is the invoker of a command's service: it passes each call on to the command, and the command's reply back.
//
// States of the conversation, under mu:
//
//	idle      nobody waits; what the command says now, nobody has asked for
//	asked     a call was sent; the next line is its reply (waiting != nil)
//	answered  the reply has come and is on its way to the client (busy, waiting == nil)
//
// What ends the worker in answered waits until forget, so that the client gets its reply.
type relay struct {
	w    *worker
	proc *commandProcess // of the last start

	mu      sync.Mutex // guards all below
	waiting chan said  // holds one
	busy    bool
	then    func() // ends the worker after the reply
	leaving bool   // the worker is ending by itself: what the command does is of no interest any more
}

// said is what a command said when it was asked.
type said struct {
	line []byte
	more []byte // what it said beyond that in the same breath
	err  error
}

var _ invoker = (*relay)(nil)

func jsonArray(line []byte) (parts []json.RawMessage, err error) {
	err = json.Unmarshal(line, &parts)
	return parts, err
}

// start runs the Setup of a command: it starts it and waits for its announcement, if there is to be one.
func (r *relay) start(c Command) error {
	if r.proc != nil { // its setup has failed before
		r.proc.end()
	}
	r.mu.Lock()
	wait := make(chan said, 1)
	if c.Announces {
		r.waiting = wait
	}
	r.mu.Unlock()
	p, err := startCommand(c.Args, r.w.config.Limits.MaxMessage)
	if err != nil {
		return err
	}
	r.proc = p
	go r.read(p, !c.Announces)
	if !c.Announces {
		return nil
	}
	s := <-wait
	if s.err == nil && isUp(s.line) && len(s.more) == 0 {
		return nil
	}
	defer p.end()
	var m wire.Message
	if s.err == nil && p.parse(s.line, &m) == nil && m.Type == wire.TypeEr {
		return m.Err
	}
	return fmt.Errorf("it said %s instead of [\"up\",{}]", quote(append(s.line, s.more...)))
}

// invoke implements invoker.
func (r *relay) invoke(ctx context.Context, m *wire.Message) (any, error) {
	m.Detach() // the watch may read the connection before all is decoded
	args, err := m.DecodeAll()
	if err != nil {
		return nil, err
	}
	wait := make(chan said, 1)
	r.mu.Lock()
	r.waiting, r.busy = wait, true
	r.mu.Unlock()
	do := wire.Message{Type: wire.TypeDo, Method: m.Method, Values: args, Meta: m.Meta}
	if err := r.send(&do); err != nil {
		r.mu.Lock()
		r.waiting = nil
		r.mu.Unlock()
		return nil, err
	}
	s := <-wait // the command's end ends this process
	var reply wire.Message
	if err := r.understand(s, m.Method, &reply); err != nil {
		return nil, err
	}
	passLogs(ctx, reply.Meta)
	if reply.Type == wire.TypeEr {
		return nil, reply.Err
	}
	vals, err := reply.DecodeAll()
	if err != nil {
		return nil, err
	}
	return vals[0], nil
}

// understand makes a message of what the command answered. If it can't, the worker ends after the call.
func (r *relay) understand(s said, method string, m *wire.Message) error {
	err := s.err
	if err == nil {
		err = r.proc.parse(s.line, m)
	}
	detail := ""
	switch {
	case err != nil:
		detail = fmt.Sprintf("it said %s: %v", quote(append(s.line, s.more...)), err)
	case m.Type != wire.TypeOK && m.Type != wire.TypeEr:
		detail = fmt.Sprintf("it said %s, which is no reply", quote(s.line))
	case len(s.more) > 0:
		detail = fmt.Sprintf("it said %s, and then %s, which nobody has asked for", quote(s.line), quote(s.more))
	default:
		return nil
	}
	r.retire("the command broke the protocol: " + detail)
	return wire.WithCode(fmt.Errorf("the command did not answer %q with a reply: %s", method, detail), CodeBadReply)
}

// send sends a message to the command. A command that doesn't read any more is ended.
func (r *relay) send(m *wire.Message) error {
	err := r.proc.conn.Write(m)
	var codec *wire.CodecError
	if err == nil || errors.As(err, &codec) {
		return err
	}
	r.proc.proc.Kill()
	<-r.proc.ended
	r.mu.Lock()
	answered := r.busy && r.waiting == nil
	r.mu.Unlock()
	if answered { // the end waits for forget
		return errCommandEnded
	}
	select {} // until read has noticed the end, which is this process's
}

var errCommandEnded = errors.New("the command has ended")

// released tells the command that its checkout is over.
func (r *relay) released() error {
	r.mu.Lock()
	broken := r.then != nil
	r.mu.Unlock()
	if broken {
		return errCommandEnded
	}
	return r.send(&wire.Message{Type: wire.TypeDn})
}

// forget implements invoker: the call's reply was sent.
func (r *relay) forget() {
	r.mu.Lock()
	r.busy = false
	then := r.then
	r.mu.Unlock()
	if then != nil {
		then()
	}
}

// retire ends the worker because of what its command said: now, or after the reply that is on its way.
func (r *relay) retire(why string) {
	r.after(func() { r.w.end(wire.ExitRetired, why) })
}

// after runs f, which ends the worker, when no reply is on its way.
func (r *relay) after(f func()) {
	r.mu.Lock()
	answered := r.busy && r.waiting == nil
	if r.leaving {
		f = func() {}
	} else if answered && r.then == nil {
		r.then = f
	}
	r.mu.Unlock()
	if !answered {
		f()
	}
}

// leave lets the command end by itself, which the end of its standard input asks for, for as long as a canceled handler
// has.
func (r *relay) leave() {
	r.mu.Lock()
	r.leaving = true
	r.mu.Unlock()
	if r.proc == nil {
		return
	}
	r.proc.stdin.Close()
	t := time.NewTimer(r.w.config.Limits.CancelGrace)
	defer t.Stop()
	select {
	case <-r.proc.ended:
	case <-t.C:
	}
}

// read reads what the command says, until its end, and gives it to whoever waits. An announcement that nobody waits for
// may still come first.
func (r *relay) read(p *commandProcess, mayAnnounce bool) {
	defer p.stdout.Close()
	for ; ; mayAnnounce = false {
		line, err := p.lines.next()
		if err != nil && !errors.Is(err, errNoMessage) {
			r.over(p, line)
			return
		}
		if mayAnnounce && err == nil && isUp(line) {
			continue
		}
		s := said{line: bytes.TrimSpace(line), more: bytes.Clone(p.lines.buffered()), err: err}
		r.mu.Lock()
		to := r.waiting
		r.waiting = nil
		r.mu.Unlock()
		if to == nil {
			r.retire(fmt.Sprintf("the command broke the protocol: it said %s, which nobody has asked for", quote(append(s.line, s.more...))))
			io.Copy(io.Discard, p.stdout) // until the worker ends; it shall not be held up
			return
		}
		to <- s
		if err != nil { // the worker ends, or Setup has failed
			io.Copy(io.Discard, p.stdout)
			return
		}
	}
}

// closedFor is how long a command may live on that has closed its standard output.
const closedFor = time.Second

// over ends the worker because its command has ended, and does so as the command did. rest is what it said at last.
func (r *relay) over(p *commandProcess, rest []byte) {
	detail := ""
	t := time.NewTimer(closedFor)
	defer t.Stop()
	select {
	case <-p.ended:
	case <-t.C:
		detail = "it closed its standard output"
		p.proc.Kill()
		<-p.ended
	}
	if p.wasEnded() { // by us: its Setup has failed, and may be tried again
		return
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		detail = fmt.Sprintf("it said %s and no more", quote(rest))
	}
	r.after(func() { r.w.died(detail, p.state) })
}

// passLogs takes over what the command has logged for the call.
func passLogs(ctx context.Context, meta map[string]any) {
	ld, ok := meta[wire.MetaLog]
	if !ok {
		return
	}
	l, err := wire.ParseLogDefer(ld)
	if err != nil {
		Logger(ctx).Warn("the command's log records can't be read", "error", err)
		return
	}
	if c, ok := ctx.(*callContext); ok {
		c.merge(l)
	}
}
