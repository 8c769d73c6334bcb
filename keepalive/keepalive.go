// Package keepalive ties a process to another by a pipe: when the one that holds the pipe ends, however it ends, the
// kernel closes the pipe, and the one that watches it is told.
//
// The holder makes the pipe, gives one end to the process it starts, and keeps the other:
//
//	hold, child, err := keepalive.New()
//	cmd.ExtraFiles = []*os.File{child} // descriptor 3 in the child
//	err = cmd.Start()
//	child.Close()                      // or the pipe never closes
//	...
//	hold.Close()                       // the child ends now; it also does if this process dies
//
// The child watches:
//
//	w, err := keepalive.Watch(os.NewFile(3, "keepalive"), func() { os.Exit(0) })
//
// Nothing is ever written to the pipe. A pipe alone does not end a process that is stopped, nor one that never runs
// its watcher; package forkserver adds the kernel's parent-death signal to it.
package keepalive

import (
	"fmt"
	"os"
	"runtime"
	"sync"
)

// Hold is the holder's side of a keepalive pipe.
type Hold struct {
	end *os.File
}

// held keeps every open Hold's file reachable: an os.File that is garbage-collected closes itself, which would end
// the other process.
var held sync.Map // *os.File → struct{}

// New makes a keepalive pipe. The child end is for the process to be started; close it here once that is done.
func New() (hold *Hold, child *os.File, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("keepalive: %w", err)
	}
	if child, err = inheritable(r); err != nil {
		w.Close()
		return nil, nil, fmt.Errorf("keepalive: %w", err)
	}
	held.Store(w, struct{}{})
	return &Hold{end: w}, child, nil
}

// Close closes the pipe and so ends the processes that watch it. A second Close, and Close of a nil Hold, do
// nothing. A Hold that is dropped without Close stays open until the process ends.
func (h *Hold) Close() error {
	if h == nil {
		return nil
	}
	if _, open := held.LoadAndDelete(h.end); !open {
		return nil
	}
	return h.end.Close()
}

// Watcher is the watcher's side of a keepalive pipe.
type Watcher struct {
	end     *os.File
	stopped chan struct{}
	done    chan struct{}
	once    sync.Once
}

// Watch calls gone once, on a goroutine of its own, when the holder's end of the pipe has closed. It takes end over
// and makes it nonblocking. It fails on what is not a pipe.
func Watch(end *os.File, gone func()) (*Watcher, error) {
	if end == nil {
		return nil, fmt.Errorf("keepalive: no pipe to watch: %w", os.ErrInvalid)
	}
	info, err := end.Stat()
	if err != nil {
		return nil, fmt.Errorf("keepalive: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode()&os.ModeNamedPipe == 0 {
		return nil, fmt.Errorf("keepalive: descriptor %d is not a pipe: was it inherited?", end.Fd())
	}
	if end, err = pollable(end); err != nil {
		return nil, fmt.Errorf("keepalive: %w", err)
	}
	w := &Watcher{end: end, stopped: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		_, err := w.end.Read(make([]byte, 1))
		select {
		case <-w.stopped: // by Stop, which closed our own end
		default:
			if err != nil {
				gone()
			}
		}
	}()
	return w, nil
}

// Stop ends the watch without calling gone, and closes the pipe's end. A second Stop does nothing. Called from gone
// it does not wait for it.
func (w *Watcher) Stop() {
	w.once.Do(func() {
		close(w.stopped)
		w.end.Close()
	})
}
