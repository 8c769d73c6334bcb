//go:build linux || darwin

package server

import (
	"bytes"
	"context"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/wire"
)

// rehearse has a standby-to-be serve a call of its own making, of a service of its own: the first call costs several times what
// the second one does, and a standby has the time. Nothing of it shows anywhere. A failure does no harm: what is wrong
// shows in the real call.
func rehearse(config workerConfig) {
	ours, theirs, err := control.Socketpair()
	if err != nil {
		return
	}
	defer ours.Close()
	defer theirs.Close()
	if _, err := ours.Write(script()); err != nil {
		return
	}
	unix.Shutdown(int(ours.Fd()), unix.SHUT_WR)
	fd, err := unix.FcntlInt(theirs.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	sock, err := newSocket()
	if err == nil {
		err = sock.connect(fd)
	}
	if err != nil {
		unix.Close(fd)
		return
	}
	defer sock.Close()
	svc := &Service{name: config.Service, handlers: map[string]handler{}}
	Handle(svc, rehearsed, func(_ context.Context, s string) (string, error) { return s, nil })
	w := newWorker(svc, config, scoreboard.Local())
	w.use(sock)
	w.serve(wire.Binary, nil)
	w.watch.timer.Stop()
	w.stop()
}

const rehearsed = "echo"

// script is what a client sends that makes one call.
func script() []byte {
	var buf bytes.Buffer
	c := wire.NewClientConn(&buf, wire.Binary, 0)
	c.Write(&wire.Message{Type: wire.TypeHello, Hello: &wire.Hello{Version: wire.Version, MaxMessage: wire.DefaultMaxMessage, Name: rehearsed,
		Lane: wire.LaneLayout}})
	c.Write(&wire.Message{Type: wire.TypeDo, ID: 1, Method: rehearsed, Values: []any{rehearsed}})
	return buf.Bytes()
}
