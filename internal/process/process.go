//go:build linux || darwin

// Package process starts and ends child processes of this binary: one spawning thread, one waiter a child, and
// process groups that end with their leader.
package process

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// Spec says what to start.
type Spec struct {
	Path  string // the program; "" is this one
	Title string // its argv[0], and all of its argv
	Env   []string
	Dir   string     // "" is the present one
	Files []*os.File // descriptors 0, 1, 2, …
	// Death is the signal that the child gets when this process dies, where the system can.
	Death syscall.Signal
}

// Process is a started child. It leads a process group of its own.
type Process struct {
	Pid  int
	os   *os.Process
	wait waiter

	mu     sync.Mutex // guards reaped: no signal may be sent to a group whose leader was reaped
	reaped bool
}

func start(spec Spec) (*Process, error) {
	path := spec.Path
	if path == "" {
		path = self()
	}
	attr := &syscall.SysProcAttr{Setpgid: true}
	pidfd := prepare(attr, spec.Death)
	p, err := os.StartProcess(path, []string{spec.Title}, &os.ProcAttr{Dir: spec.Dir, Env: spec.Env, Files: spec.Files, Sys: attr})
	if err != nil {
		return nil, fmt.Errorf("start %q: %w", spec.Title, err)
	}
	return &Process{Pid: p.Pid, os: p, wait: newWaiter(p.Pid, pidfd)}, nil
}

// Signal sends sig to the child itself. After its end it does nothing.
func (p *Process) Signal(sig syscall.Signal) { p.os.Signal(sig) }

// Quit sends SIGQUIT, on which a Go child prints all goroutines and exits. It can't print the stack of a goroutine that
// runs on another thread than the one that gets the signal; so that is the busiest thread, where the system can do it.
func (p *Process) Quit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped && !quitBusiest(p.Pid) {
		p.os.Signal(syscall.SIGQUIT)
	}
}

// Kill kills the child and all of its process group.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		syscall.Kill(-p.Pid, syscall.SIGKILL)
	}
}

// Stopped reports whether a signal has stopped the child, and nobody has continued it.
func (p *Process) Stopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.reaped && isStopped(p.Pid)
}

// State is how a child ended.
type State struct {
	Code   int // -1 if a signal ended it
	Signal syscall.Signal
	User   time.Duration
	System time.Duration
	MaxRSS int64 // bytes
}

// Wait waits for the child's end, kills what is left of its process group, and reaps it. It must be called once.
func (p *Process) Wait() State {
	p.wait.exited()
	p.Kill() // while its pid, and so the group's, can't be anybody else's
	p.mu.Lock()
	p.reaped = true
	p.mu.Unlock()
	ps, err := p.os.Wait()
	if err != nil { // somebody else reaped it, against all rules
		return State{Code: -1}
	}
	st := State{Code: ps.ExitCode(), User: ps.UserTime(), System: ps.SystemTime()}
	if ws, ok := ps.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		st.Signal = ws.Signal()
	}
	if ru, ok := ps.SysUsage().(*syscall.Rusage); ok {
		st.MaxRSS = int64(ru.Maxrss) * maxRSSUnit
	}
	return st
}
