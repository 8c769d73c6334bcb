package pool

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/wire"
)

// settings are what a call takes from its pool or view.
type settings struct {
	timeout time.Duration // 0: none
	logger  hclog.Logger
	meta    map[string]string
	measure bool
}

// deadline returns when a call ends that began at start.
func (s *settings) deadline(start instant) instant {
	if s.timeout == 0 {
		return 0
	}
	return start.add(s.timeout)
}

// call runs one call on a worker that the caller owns. It is now at; start is when the call's patience began. last marks
// it as the checkout's last one.
func (w *worker) call(ctx context.Context, c *wire.Call, s *settings, start, at instant, last bool) error {
	deadline := s.deadline(start)
	c.Cost.Queued = at.since(start)
	if err := w.pool.late(ctx, c.Method, deadline, at, start); err != nil {
		return err
	}
	if w.since.Load() == 0 {
		w.since.Store(int64(at))
	}
	offer := w.laneState.possible && w.wantsLane(at)
	w.stream.begin(ctx, at, deadline)
	err := w.speak()
	if offer && err == nil {
		err = w.offerLane()
	}
	end := w.stream.lane
	if end != nil {
		end.Begin(int64(at), int(w.pool.calling.Add(1)))
		defer w.pool.calling.Add(-1)
	}
	if err == nil {
		w.prepare(c, s, last)
		err = w.conn.Write(&w.out)
	}
	w.out.Values = nil // they are the caller's
	if err == nil {
		w.stream.written()
		if w.unmet {
			err = w.meet()
			c.Pid = w.hello.Load().Pid
		}
	}
	if err == nil {
		err = w.readReply()
	}
	if err == nil {
		err = w.take(c, s)
		w.in.Forget()
	} else {
		err = w.broke(ctx, c, s, at, err)
	}
	w.stream.done()
	return err
}

// speak begins with a hello what is sent to a worker that was handed out before it has got one.
func (w *worker) speak() error {
	if !w.silent {
		return nil
	}
	w.silent = false
	err := w.hail()
	w.stream.keep()
	return err
}

// introduce waits for the hello of a worker that was handed out before it.
func (w *worker) introduce(ctx context.Context, s *settings) error {
	at := now()
	w.stream.begin(ctx, at, s.deadline(at))
	err := w.speak()
	if err == nil {
		w.stream.written()
		err = w.meet()
	}
	if err != nil {
		err = w.broke(ctx, new(wire.Call), s, at, err)
	}
	w.stream.done()
	return err
}

// late returns an error if the call's time is over before it is sent.
func (p *Pool) late(ctx context.Context, method string, deadline, at, start instant) error {
	err := ctx.Err()
	switch {
	case err == nil && (deadline == 0 || at < deadline):
		return nil
	case err == nil || errors.Is(err, context.DeadlineExceeded):
		return &TimeoutError{Pool: p.config.Name, Method: method, Waited: at.since(start), Kept: true}
	}
	return &CanceledError{Pool: p.config.Name, Method: method, Kept: true, Err: causeOf(ctx)}
}

// prepare makes the call's message.
func (w *worker) prepare(c *wire.Call, s *settings, last bool) {
	w.id++
	hello := w.hello.Load()
	c.Pid = hello.Pid
	w.out = wire.Message{Type: wire.TypeDo, ID: w.id, Method: c.Method, Values: c.Args, Last: last && hello.Hook}
	if len(s.meta)+len(c.Meta) > 0 {
		user := make(map[string]any, len(s.meta)+len(c.Meta))
		for k, v := range s.meta {
			user[k] = v
		}
		for k, v := range c.Meta {
			user[k] = v
		}
		w.out.Meta = map[string]any{wire.MetaUser: user}
	}
	if c.Measure || s.measure {
		if w.out.Meta == nil {
			w.out.Meta = map[string]any{}
		}
		w.out.Meta[wire.MetaCost] = true
	}
	if *w.method.Load() != c.Method {
		name := strings.Clone(c.Method)
		w.method.Store(&name)
	}
}

// readReply reads the reply to the call that was sent last.
func (w *worker) readReply() error {
	w.in.Method = w.out.Method
	if err := w.conn.Read(&w.in); err != nil {
		return err
	}
	if w.in.Type != wire.TypeOK && w.in.Type != wire.TypeEr {
		return &wire.ProtocolError{Message: "the worker answered a call with " + w.in.Type.String()}
	}
	if w.pool.config.Wire == wire.Binary && w.in.ID != w.id {
		return &wire.ProtocolError{Message: "the worker answered another call than the one it was sent"}
	}
	return nil
}

// take takes the reply apart.
func (w *worker) take(c *wire.Call, s *settings) error {
	if !w.served.Load() {
		w.served.Store(true)
		if d, ok := w.nc.(interface{ Served() }); ok { // its dialer may not have heard yet that a worker is ready
			d.Served()
		}
	}
	c.Cost.Run = time.Duration(w.in.Run)
	if end := w.stream.lane; end != nil {
		end.Served(c.Cost.Run)
	}
	if w.in.Run == 0 && w.pool.config.Wire == wire.JSON { // which doesn't tell
		c.Cost.Run = now().since(w.stream.sent)
	}
	w.pool.runs.add(c.Cost.Run)
	if w.in.Meta != nil {
		w.takeMeta(c, s)
	}
	if w.stream.canceled {
		return w.canceled(c, w.in.Err)
	}
	if w.end == endSetup { // it was tried again
		w.end = ""
	}
	if w.in.Type == wire.TypeOK {
		return w.in.Decode(c.Reply)
	}
	re := w.in.Err
	if msg, setup := strings.CutPrefix(re.Message, "setup exception: "); setup && w.pool.config.Wire == wire.JSON {
		w.end = endSetup
		return &wire.SetupError{Message: msg}
	}
	w.failed = true
	if re.Type == wire.TypePanic {
		w.end = endPanic
	}
	return re
}

// takeMeta takes a reply's meta apart. What isn't as it should be is left out.
func (w *worker) takeMeta(c *wire.Call, s *settings) {
	if ld, ok := w.in.Meta[wire.MetaLog]; ok {
		w.replay(ld, s.logger)
	}
	if cost, ok := w.in.Meta[wire.MetaCost].(map[string]any); ok {
		cpu, _ := cost["cpu"].(int64)
		rss, _ := cost["rss"].(int64)
		c.Cost.CPU, c.Cost.PeakRSS = time.Duration(max(cpu, 0)), max(rss, 0)
	}
}

// canceled describes a call whose context ended, and whose handler replied within its grace.
func (w *worker) canceled(c *wire.Call, remote *wire.RemoteError) error {
	if remote != nil && remote.Type == wire.TypePanic {
		w.end = endPanic
	}
	ctx := w.stream.ctx
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &TimeoutError{Pool: w.pool.config.Name, Method: c.Method, Waited: c.Cost.Queued, Ran: now().since(w.stream.sent), Kept: w.end == ""}
	}
	return &CanceledError{Pool: w.pool.config.Name, Method: c.Method, Kept: w.end == "", Remote: remote, Err: causeOf(ctx)}
}

// broke ends a call that got no reply, and mostly its worker.
func (w *worker) broke(ctx context.Context, c *wire.Call, s *settings, sent instant, err error) error {
	var codec *wire.CodecError
	var violation *wire.ProtocolError
	var setup *wire.SetupError
	switch {
	case errors.As(err, &codec): // nothing was sent, and so no Last
		w.out.Last = false
		return err
	case errors.As(err, &setup): // instead of a hello
		w.end = endSetup
		w.dismiss(endSetup, setup.Message)
		return err
	case errors.As(err, &violation):
		w.ran(c, sent)
		w.end = endProtocol
		w.dismiss(endProtocol, err.Error())
		return err
	case errors.Is(err, errGaveUp):
		return w.gaveUp(ctx, c, s, sent)
	case errors.Is(err, net.ErrClosed): // by this side: Close, Abort, Release
		w.ran(c, sent)
		w.end = endClosed
		return ErrClosed
	}
	at := now() // what follows takes its time
	err = w.died(err, c.Method, func(l *wire.LogDefer, pid int) { w.replayLogs(l, pid, s.logger) })
	if died, ok := err.(*WorkerDiedError); ok && !died.Unread {
		c.Cost.Run = at.since(sent)
		w.pool.runs.add(c.Cost.Run)
	}
	return err
}

// ran notes how long a call ran that got no reply, and that was sent at the given time.
func (w *worker) ran(c *wire.Call, sent instant) {
	c.Cost.Run = now().since(sent)
	w.pool.runs.add(c.Cost.Run)
}

// gaveUp kills a worker that did not reply in time.
func (w *worker) gaveUp(ctx context.Context, c *wire.Call, s *settings, sent instant) error {
	w.ran(c, sent)
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		w.end = endCanceled
		w.dismiss(endCanceled, "its call was canceled and did not return")
		return &CanceledError{Pool: w.pool.config.Name, Method: c.Method, Err: causeOf(ctx)}
	}
	w.end = endTimeout
	w.dismiss(endTimeout, "its call timed out")
	return &TimeoutError{Pool: w.pool.config.Name, Method: c.Method, Waited: c.Cost.Queued, Ran: c.Cost.Run}
}

// replay passes on what the handler has logged.
func (w *worker) replay(ld any, to hclog.Logger) {
	l, err := wire.ParseLogDefer(ld)
	if err != nil {
		w.pool.config.Logger.Warn("a worker's log records can't be read", "pool", w.pool.config.Name, "pid", w.pid(), "error", err)
		return
	}
	w.replayLogs(l, w.pid(), to)
}

func (w *worker) replayLogs(l *wire.LogDefer, pid int, to hclog.Logger) {
	for _, r := range l.Logs {
		args := make([]any, 0, 4)
		if pid != 0 { // the JSON wire doesn't tell
			args = append(args, "pid", pid)
		}
		args = append(args, "timestamp", l.Time(r))
		switch d := r.Data.(type) {
		case nil:
		case map[string]any:
			for _, k := range sortedKeys(d) {
				args = append(args, k, d[k])
			}
		default:
			args = append(args, "data", d)
		}
		to.Log(hclogLevel(r.Level), r.Message, args...)
	}
	for _, t := range l.Timers {
		replayTimer(t, pid, to)
	}
}

func hclogLevel(level int) hclog.Level {
	switch {
	case level <= wire.LogError:
		return hclog.Error
	case level <= wire.LogWarn:
		return hclog.Warn
	case level <= wire.LogInfo:
		return hclog.Info
	case level <= wire.LogDebug:
		return hclog.Debug
	}
	return hclog.Trace
}
