//go:build linux || darwin

package forkserver

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

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
