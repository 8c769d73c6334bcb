//go:build amd64 || arm64

package role

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hushes says that a worker drops signals from its first moment on, before DropSignals is called.
const hushes = true

// sigaction is the kernel's struct of that name.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// hushed has what the runtime had set before hush.
var hushed = map[unix.Signal]*sigaction{}

// hush has this process drop the signals that DropSignals drops, in a microsecond: os/signal needs some hundred, in which the
// caller of a new worker would wait. A handler that does nothing takes the place of the runtime's, until unhush; so package
// os/signal hears nothing meanwhile. Children have it no more than any handler.
//
// It runs on the main thread, from init.
func hush() {
	handler, restorer := handlers()
	act := sigaction{handler: handler, restorer: restorer, flags: onStackFlag | restartFlag | restorerFlag, mask: ^uint64(0)}
	for _, s := range everybodys {
		old := new(sigaction)
		if rtSigaction(s, nil, old) && old.handler != ignored && rtSigaction(s, &act, nil) {
			hushed[s] = old
		}
	}
}

// unhush gives the signals back to the runtime, but those that somebody has taken for himself meanwhile, as C libraries may and
// signal.Ignore does.
func unhush() {
	handler, _ := handlers()
	for s, old := range hushed {
		var now sigaction
		if rtSigaction(s, nil, &now) && now.handler == handler {
			rtSigaction(s, old, nil)
		}
	}
}

const (
	ignored     = 1          // SIG_IGN
	onStackFlag = 0x08000000 // SA_ONSTACK: goroutines' stacks have no room for a handler
	restartFlag = 0x10000000 // SA_RESTART
)

func rtSigaction(s unix.Signal, act, old *sigaction) bool {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(act)), uintptr(unsafe.Pointer(old)), unsafe.Sizeof(act.mask), 0, 0)
	return errno == 0
}

// handlers returns the addresses of a signal handler that does nothing, and of what returns from it.
func handlers() (handler, restorer uintptr)
