//go:build linux

package server_test

import (
	"context"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

var nap = server.Handle(basic, "nap", func(ctx context.Context, d time.Duration) (wire.None, error) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return wire.None{}, context.Cause(ctx)
})

// A client may send its next call before it has its reply, together with the one before or while that runs. That call's
// HungTimeout begins with the call, not when it arrived.
func TestCallsThatAreSentAheadAreNotHung(t *testing.T) {
	t.Parallel()
	const each, calls = 2 * time.Second, 2
	for name, pause := range map[string]time.Duration{"glued": 0, "while the first one runs": each / 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, server.Limits{HungTimeout: each + each/2})
			nc := dial(t, "unix", s.serve(t, "unix"))
			c := wire.NewClientConn(nc, wire.Binary, 0)
			send := func(m wire.Message) {
				t.Helper()
				if err := c.Write(&m); err != nil {
					t.Fatal(err)
				}
			}
			send(wire.Message{Type: wire.TypeHello, Hello: &wire.Hello{Version: wire.Version}})
			for id := uint32(1); id <= calls; id++ {
				if id == 2 {
					time.Sleep(pause) // the first call's handler must be running, which nobody tells
				}
				send(wire.Message{Type: wire.TypeDo, ID: id, Method: "nap", Values: []any{each}})
			}
			var m wire.Message
			for id := uint32(0); id <= calls; id++ {
				if err := c.Read(&m); err != nil || id > 0 && (m.Type != wire.TypeOK || m.ID != id) {
					t.Fatalf("reply %d: %v %d, %v", id, m.Type, m.ID, err)
				}
			}
		})
	}
}
