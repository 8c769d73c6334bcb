//go:build linux || darwin

package forkserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/internal/process"
	"github.com/bullpen-go/bullpen/internal/role"
	"github.com/bullpen-go/bullpen/internal/tail"
	"github.com/bullpen-go/bullpen/keepalive"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// instance is one server process, as the app sees it.
type instance struct {
	p      *Process
	proc   *process.Process
	ctl    *control.Conn
	hold   *keepalive.Hold
	output *os.File
	stderr tail.Buffer
	ready  chan control.Ready
	dead   chan struct{} // closed when the process was reaped and nothing of it is left to read
	err    error         // how it ended; set before dead is closed

	roster, slots *os.File // the server's scoreboard; set before ready has a value, closed before dead is

	answered bool          // guarded by the Process's mu
	decided  chan struct{} // closed when the answer was accepted, or refused

	readers sync.WaitGroup // of ctl and output
	pinger  pinger

	handing sync.RWMutex // held while a connection is handed over, so that no such message follows the end's

	mu     sync.Mutex // guards all below
	conns  map[uint64]*conn
	nextID uint64
	stock  stock
	gone   bool
	asked  bool // to end
	closed control.Closed
}

// launch starts a server and waits for its answer, for StartTimeout at most.
func (p *Process) launch(ctx context.Context) (*instance, error) {
	if err := role.CheckApp(); err != nil {
		return nil, err
	}
	if max := p.config.StartTimeout; max > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, max, fmt.Errorf("no answer within StartTimeout (%v)", max))
		defer cancel()
	}
	in := &instance{p: p, ready: make(chan control.Ready, 1), decided: make(chan struct{}),
		dead: make(chan struct{}), conns: map[uint64]*conn{}}
	if err := in.spawn(); err != nil {
		return nil, err
	}
	go in.run()
	limits := p.config.Limits
	if p.ahead() > 0 {
		limits.Standby = 0 // those of the stock are all that there are
	}
	config := serverConfig{Service: p.svc.Name(), Limits: limits, SetupData: p.setupData,
		Listeners: len(p.listeners), Events: p.config.OnEvent != nil, Path: p.config.Path}
	// Large setup data blocks until the server reads it. If sending fails, the server has died, which is seen below.
	go in.ctl.Send(control.AppConfig, config)
	if err := in.await(ctx); err != nil {
		close(in.decided)
		in.kill()
		return nil, err
	}
	return in, nil // serveBy decides
}

// await waits for the server's answer, and checks it.
func (in *instance) await(ctx context.Context) error {
	select {
	case r := <-in.ready:
		switch {
		case r.Err != "" && r.Shortage:
			return &shortageError{r.Err}
		case r.Err != "":
			return errors.New(r.Err)
		}
		if in.p.config.Path == "" && r.Build != role.Build() {
			return errors.New("the program's file was replaced since this process began, and the server is the new one: restart the program")
		}
		return nil
	case <-in.dead:
		return in.startError()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// startError tells why a server ended before it answered.
func (in *instance) startError() error {
	head, _, _, _ := in.stderr.Ends()
	said := strings.TrimSpace(string(head))
	if said == "" {
		said = "it said nothing; does its main begin with forkserver.Init()?"
	}
	return startFailure("the process ended before it answered: "+said, said)
}

// spawn starts the process, with descriptors in the order of package role.
func (in *instance) spawn() (err error) {
	p := in.p
	var files []*os.File // the child's, closed here once it has them
	defer func() {
		for _, f := range files {
			f.Close()
		}
		if err != nil {
			in.hold.Close()
			if in.ctl != nil {
				in.ctl.Close()
			}
			if in.output != nil {
				in.output.Close()
			}
		}
	}()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	files = append(files, null)
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	in.output = r
	files = append(files, w)
	ctl, theirs, err := control.Pair()
	if err != nil {
		return err
	}
	in.ctl = ctl
	hold, child, err := keepalive.New()
	if err != nil {
		theirs.Close()
		return err
	}
	in.hold = hold
	files = append(files, theirs, child)
	for _, l := range p.listeners {
		f, err := l.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	in.proc, err = process.Start(process.Spec{
		Path:  p.config.Path,
		Title: "bullpen server: " + p.svc.Name(),
		Env:   role.Mark(p.config.Env, role.Server, 0),
		Dir:   p.config.Dir,
		Files: append([]*os.File{null, w}, files[1:]...), // stdout and stderr are one pipe
		Death: syscall.SIGKILL,                           // until Init in the server sets another: see package role
	})
	return err
}

func (in *instance) pid() int { return in.proc.Pid }

// run reads what the server says until its end, and does what follows from that.
func (in *instance) run() {
	in.readers.Add(2)
	go in.readOutput()
	go in.readControl()
	st := in.proc.Wait()
	in.output.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	late := time.AfterFunc(time.Second, func() { in.ctl.Close() })
	in.readers.Wait()
	late.Stop()
	in.ctl.Close()
	in.output.Close()
	in.hold.Close()
	in.pong() // or the pinger would go on
	err := in.endError(st)
	in.abandon(err)
	in.err = err
	in.roster.Close() // of a nil file it fails, and does nothing
	in.slots.Close()
	if st.Code != 0 { // its workers died with it, but not what they had started
		process.KillMarked(role.ServerSetting(in.proc.Pid))
	}
	close(in.dead)
	in.p.ended(in)
}

// endError tells how the server ended, or nil if it was asked to.
func (in *instance) endError(st process.State) error {
	in.mu.Lock()
	asked := in.asked
	in.mu.Unlock()
	if asked && st.Code == 0 {
		return nil
	}
	how := fmt.Sprintf("exit code %d", st.Code)
	if st.Signal != 0 {
		how = fmt.Sprintf("signal %d (%v)", int(st.Signal), st.Signal)
	}
	head, end, _, _ := in.stderr.Ends()
	if text := strings.TrimSpace(string(head) + string(end)); text != "" {
		how += ": " + text
	}
	return fmt.Errorf("%w: server of %q, pid %d, %s", wire.ErrServerGone, in.p.svc.Name(), in.proc.Pid, how)
}

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
			in.p.mu.Lock()
			in.p.breaker.succeed()
			in.p.mu.Unlock()
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

// abandon ends all connections of a server that is dead: its workers are too.
func (in *instance) abandon(err error) {
	in.mu.Lock()
	in.gone = true
	unused := in.stock.drop(in)
	conns := in.conns
	in.conns = nil
	in.mu.Unlock()
	closeAll(unused)
	e := wire.Exit{Code: -1, Reason: wire.ExitShutdown}
	if err != nil {
		e.Reason, e.Detail = wire.ExitServerDied, err.Error()
	}
	for _, c := range conns {
		c.ended(&e)
	}
}

// dial returns a connection: one whose worker stands by, or a new one.
func (in *instance) dial(kind wire.Kind) (net.Conn, error) {
	if c := in.spare(); c != nil {
		return c, nil
	}
	c, err := in.connect(control.Handover{Wire: kind})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// spare returns a connection whose worker stands by, or nil.
func (in *instance) spare() net.Conn {
	if c := in.stock.take(in); c != nil {
		return c
	}
	return nil
}

// connect makes a connection and sends its other end to the server, with h.
func (in *instance) connect(h control.Handover) (*conn, error) {
	ours, theirs, err := control.Socketpair()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	defer theirs.Close()
	nc, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, in: in, ahead: h.Ahead, exit: make(chan struct{})}
	in.handing.RLock() // drain says that it begins to no connection that the server gets after it has heard of it
	defer in.handing.RUnlock()
	in.mu.Lock()
	if in.gone || in.asked {
		in.mu.Unlock()
		nc.Close()
		return nil, errReplaced
	}
	in.nextID++
	c.id = in.nextID
	in.conns[c.id] = c
	in.mu.Unlock()
	h.ID = c.id
	if err := in.ctl.Send(control.AppConn, h, theirs); err != nil {
		in.exited(control.Exit{ID: c.id, Exit: wire.Exit{Code: -1, Reason: wire.ExitNotStarted, Detail: err.Error()}})
		nc.Close()
		return nil, fmt.Errorf("bullpen: hand a connection to the server: %w", err)
	}
	in.ping()
	return c, nil
}

// ask notes that the server's end is wanted, and says so.
func (in *instance) ask(t control.Type) {
	in.handing.Lock()
	in.mu.Lock()
	in.asked = true
	unused := in.stock.drop(in)
	in.mu.Unlock()
	in.handing.Unlock()
	closeAll(unused)
	go in.ctl.Send(t, nil) // a stopped server may not read
}

// isGone reports whether the server takes no connections any more.
func (in *instance) isGone() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.gone || in.asked
}

// close is the ladder that ends a server: ask, wait, kill, report.
func (in *instance) close() error {
	in.ask(control.AppClose)
	grace := in.p.config.Limits.CancelGrace
	t := time.NewTimer(max(grace, 100*time.Millisecond) + 3*time.Second)
	defer t.Stop()
	select {
	case <-in.dead:
	case <-t.C:
		in.kill()
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if pids := in.closed.Survivors; len(pids) > 0 {
		return &server.StuckError{Service: in.p.svc.Name(), Pids: pids}
	}
	return nil
}

// kill kills the server; its workers die with it.
func (in *instance) kill() {
	in.proc.Kill()
	select {
	case <-in.dead:
	case <-time.After(2 * time.Second): // it is in uninterruptible sleep
	}
}

// drain asks pools to give their connections back, and the server to end when the last one has.
func (in *instance) drain() {
	in.ask(control.AppShutdown)
	in.mu.Lock()
	conns := make([]*conn, 0, len(in.conns))
	for _, c := range in.conns {
		conns = append(conns, c)
	}
	in.mu.Unlock()
	for _, c := range conns {
		c.retire()
	}
}
