//go:build linux || darwin

package forkserver

import (
	"fmt"
	"sync"
	"time"

	"github.com/bullpen-go/bullpen/internal/control"
)

// pinger finds out whether a server still obeys: each connection handed over asks for a sign of life, if none is awaited
// already, and a moment later: whoever wants the connection has the processors first. A server that gives none for StartTimeout, as one that was stopped does, is killed, and so replaced. An idle
// server is not asked.
type pinger struct {
	mu      sync.Mutex // guards all below
	waiting bool
	timer   *time.Timer
}

const pingAfter = 20 * time.Millisecond

// secondChance is for a sign of life that has arrived, but was not read yet: this process itself may have been stopped.
const secondChance = time.Second

// ping asks for a sign of life.
func (in *instance) ping() {
	max := in.p.config.StartTimeout
	in.pinger.mu.Lock()
	defer in.pinger.mu.Unlock()
	if in.pinger.waiting || max <= 0 {
		return
	}
	in.pinger.waiting = true
	in.pinger.timer = time.AfterFunc(pingAfter, func() {
		in.pinger.mu.Lock()
		in.pinger.timer = time.AfterFunc(max, func() { in.silent(false) })
		in.pinger.mu.Unlock()
		in.ctl.Send(control.AppPing, nil)
	})
}

// pong notes a sign of life.
func (in *instance) pong() {
	in.pinger.mu.Lock()
	defer in.pinger.mu.Unlock()
	if in.pinger.waiting {
		in.pinger.waiting = false
		in.pinger.timer.Stop()
	}
}

// silent kills a server that gave no sign of life, the second time.
func (in *instance) silent(again bool) {
	in.pinger.mu.Lock()
	defer in.pinger.mu.Unlock()
	switch {
	case !in.pinger.waiting:
	case !again:
		in.pinger.timer = time.AfterFunc(secondChance, func() { in.silent(true) })
	default:
		in.p.logger.Error("the server does not answer and is killed", "service", in.p.svc.Name(), "pid", in.pid(),
			"silent for", fmt.Sprint(in.p.config.StartTimeout))
		in.proc.Kill()
	}
}
