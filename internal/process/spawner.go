//go:build linux || darwin

package process

import (
	"runtime"
	"sync"
)

// spawner returns the channel of what is to be done on the thread that starts all children. A parent-death signal
// follows the thread that spawned, so that thread must live as long as the process.
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// Start starts a child. The caller closes its copies of the spec's files.
func Start(spec Spec) (*Process, error) {
	var p *Process
	var err error
	onSpawner(func() {
		count(1)
		if p, err = start(spec); err != nil {
			count(-1)
		}
	})
	return p, err
}

// Release says that all has been done that the child's end makes necessary. It must be called at most once, after Wait.
func (p *Process) Release() { onSpawner(func() { count(-1) }) }

// OnBusy has f called on the spawning thread, which lives as long as the process: now, just before a child is started
// while there is none, and when the last one has been released.
func OnBusy(f func(busy bool)) {
	onSpawner(func() {
		onBusy = f
		f(children > 0)
	})
}

// onSpawner runs f on the spawning thread, and returns then.
func onSpawner(f func()) {
	done := make(chan struct{})
	spawner() <- func() {
		defer close(done)
		f()
	}
	<-done
}

// The spawning thread's own.
var (
	children int // started, and not released
	onBusy   func(busy bool)
)

// count changes the number of children, and tells OnBusy's function.
func count(by int) {
	before := children
	children += by
	if onBusy != nil && (before > 0) != (children > 0) {
		onBusy(children > 0)
	}
}
