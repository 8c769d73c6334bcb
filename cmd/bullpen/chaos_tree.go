//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/server"
)

// chaosTree is a server and its workers, as the faults from outside find them.
type chaosTree struct {
	name   string
	mark   string // in the environment of all its processes
	byPath bool   // its clients come by a path
	*forkserver.Process

	mu      sync.Mutex   // guards all below
	workers map[int]bool // by pid; true if it is set up
}

// event keeps the list of workers.
func (t *chaosTree) event(e server.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e.Type {
	case server.WorkerStarted:
		t.workers[e.Pid] = false
	case server.WorkerReady:
		t.workers[e.Pid] = true
	case server.WorkerEnded:
		delete(t.workers, e.Pid)
	}
}

// worker picks a worker, or returns 0.
func (t *chaosTree) worker(rng *rand.Rand) int {
	n := rng.IntN(1 << 20)
	t.mu.Lock()
	defer t.mu.Unlock()
	pids := make([]int, 0, len(t.workers))
	for pid := range t.workers {
		pids = append(pids, pid)
	}
	if len(pids) == 0 {
		return 0
	}
	slices.Sort(pids)
	return pids[n%len(pids)]
}

// isReady reports whether a worker is set up.
func (t *chaosTree) isReady(pid int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.workers[pid]
}

// gone forgets a worker that died with its server, of which no event tells.
func (t *chaosTree) gone(pid int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.workers, pid)
}

// chaosProcess is a process that is ours beyond doubt, whatever its pid is used for next.
type chaosProcess struct {
	pidfd int
	id    chaosWorkerID
}

// chaosFind looks for the process that has the pid and the mark.
func chaosFind(pid int, mark string) (*chaosProcess, bool) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, false
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || !bytes.Contains(env, []byte(mark+"\x00")) {
		unix.Close(fd)
		return nil, false
	}
	p := &chaosProcess{pidfd: fd, id: chaosWorkerID{Pid: pid}}
	for kv := range strings.SplitSeq(string(env), "\x00") {
		if v, ok := strings.CutPrefix(kv, "BULLPEN_WORKER="); ok {
			_, number, _ := strings.Cut(v, ".")
			fmt.Sscan(number, &p.id.Number)
		}
	}
	return p, true
}

func (p *chaosProcess) signal(sig syscall.Signal) { unix.PidfdSendSignal(p.pidfd, sig, nil, 0) }

func (p *chaosProcess) close() { unix.Close(p.pidfd) }

// stopIdle stops the workers of a tree whose pools are about to close: nobody is there to miss them.
func (t *chaosTree) stopIdle(l *chaosLedger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for pid := range t.workers {
		if p, ok := chaosFind(pid, t.mark); ok {
			p.signal(syscall.SIGSTOP)
			p.close()
			l.fault("worker: SIGSTOP while idle")
		}
	}
}
