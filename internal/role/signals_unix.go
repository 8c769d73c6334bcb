//go:build linux || darwin

package role

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// DropSignals catches what a terminal or a service manager sends to everybody: the app decides what it means. The
// signals are caught, not ignored, as programs that a worker starts would inherit that. A server does so from the first
// moment. A worker calls it when it has the time: it takes several switches of threads.
// A second call does nothing.
var DropSignals = sync.OnceFunc(func() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
})
