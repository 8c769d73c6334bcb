//go:build linux || darwin

package forkserver

import (
	"errors"
	"fmt"
	"os"

	"github.com/bullpen-go/bullpen/internal/process"
	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/wire"
)

// status reads the server's scoreboard.
func (in *instance) status() (*Status, error) {
	r, err := scoreboard.Read(in.roster, in.slots)
	if errors.Is(err, os.ErrClosed) {
		return nil, fmt.Errorf("the server has ended: %w", wire.ErrServerGone)
	}
	if err != nil {
		return nil, err
	}
	return newStatus(in.p.svc.Name(), in.pid(), r), nil
}

// newStatus puts together what a scoreboard shows, and what the system tells.
func newStatus(service string, server int, r *scoreboard.Reading) *Status {
	s := &Status{Service: service, Server: server, Uptime: r.Uptime, Workers: []WorkerStatus{}}
	for _, w := range r.Workers {
		ws := WorkerStatus{Number: w.Number, Pid: w.Pid, Age: w.Age, Standby: w.Owner == scoreboard.Nobody,
			State: stateOf(w.State), Method: w.Method, For: w.For, Calls: w.Calls, Errors: w.Errors,
			Checkouts: w.Checkouts, BytesIn: w.BytesIn, BytesOut: w.BytesOut, CPU: -1, RSS: -1}
		if cpu, rss, ok := process.UsageOf(w.Pid, server); ok {
			ws.CPU, ws.RSS = cpu, rss
		}
		s.Workers = append(s.Workers, ws)
	}
	return s
}

func stateOf(s scoreboard.State) WorkerState {
	switch s {
	case scoreboard.Starting:
		return Starting
	case scoreboard.SettingUp:
		return SettingUp
	case scoreboard.Idle:
		return Idle
	case scoreboard.Running:
		return Running
	case scoreboard.Hook:
		return Hook
	}
	return Unknown
}
