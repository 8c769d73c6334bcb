//go:build linux || darwin

package forkserver

import (
	"bytes"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/internal/tail"
	"github.com/bullpen-go/bullpen/server"
)

// readOutput forwards what the server prints: what a crash says.
func (in *instance) readOutput() {
	defer in.readers.Done()
	pipe := &tail.Reader{File: in.output}
	buf := make([]byte, 4<<10)
	for {
		n, err := pipe.Read(buf)
		in.stderr.Write(buf[:n])
		for line := range bytes.Lines(buf[:n]) {
			in.p.logger.Info(strings.ToValidUTF8(strings.TrimRight(string(line), "\r\n"), "\uFFFD"),
				"service", in.p.svc.Name(), "pid", in.proc.Pid, "stream", "server output")
		}
		if err != nil {
			return
		}
	}
}

// readControl does what the server's messages ask for.
func (in *instance) readControl() {
	defer in.readers.Done()
	for {
		m, err := in.ctl.Recv()
		if err != nil {
			return
		}
		switch m.Type {
		case control.ServerReady:
			var r control.Ready
			if m.Decode(&r) == nil && in.roster == nil {
				in.roster, in.slots = in.ctl.File("roster"), in.ctl.File("scoreboard")
				select {
				case in.ready <- r:
				default:
				}
				<-in.decided // what follows is for a server that was accepted
			}
		case control.ServerExit:
			var e control.Exit
			if m.Decode(&e) == nil {
				in.exited(e)
			}
		case control.ServerEvent:
			var e server.Event
			if m.Decode(&e) == nil {
				in.p.event(e)
			}
		case control.ServerLog:
			var rec control.Log
			if m.Decode(&rec) == nil {
				in.log(rec)
			}
		case control.ServerRetire:
			var r control.Retire
			if m.Decode(&r) == nil {
				in.retire(r.ID)
			}
		case control.ServerWarm:
			var warm control.Warm
			if m.Decode(&warm) == nil {
				in.warm(warm.ID)
			}
		case control.ServerPong:
			in.pong()
		case control.ServerServes:
			in.serves()
		case control.ServerClosed:
			in.mu.Lock()
			m.Decode(&in.closed)
			in.mu.Unlock()
		}
	}
}

// log replays a record of the server's.
func (in *instance) log(rec control.Log) {
	args := make([]any, len(rec.Args))
	for i, a := range rec.Args {
		args[i] = a
	}
	l := in.p.logger
	if rec.Name != "" {
		l = l.Named(rec.Name)
	}
	l.Log(hclog.Level(rec.Level), rec.Message, args...)
}

// serves notes that a worker has got ready.
func (in *instance) serves() {
	in.p.mu.Lock()
	defer in.p.mu.Unlock()
	in.p.breaker.succeed()
}

// exited notes the end of a connection's worker.
func (in *instance) exited(e control.Exit) {
	in.mu.Lock()
	c := in.conns[e.ID]
	delete(in.conns, e.ID)
	unused := c != nil && in.stock.remove(c)
	in.mu.Unlock()
	if c != nil {
		c.ended(&e.Exit)
	}
	if unused {
		c.Close()
		in.restockSoon()
	}
}

// retire has a connection given back.
func (in *instance) retire(id uint64) {
	in.mu.Lock()
	c := in.conns[id]
	unused := c != nil && in.stock.remove(c)
	in.mu.Unlock()
	switch {
	case unused: // its worker ends then, and another one takes its place
		c.Close()
		in.restockSoon()
	case c != nil:
		c.retire()
	}
}
