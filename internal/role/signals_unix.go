//go:build linux || darwin

package role

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// everybodys are the signals that a terminal or a service manager sends to everybody: the app decides what they mean.
var everybodys = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

// DropSignals catches what is sent to everybody. The signals are caught, not ignored, as programs that a worker starts would
// inherit that. A server does so from the first moment. A worker calls it when it has the time: it takes several switches of
// threads. A second call does nothing.
var DropSignals = sync.OnceFunc(func() {
	c := make(chan os.Signal, 1)
	for _, s := range everybodys {
		if !signal.Ignored(s) { // it does nothing already, and what the worker starts is to ignore it too
			signal.Notify(c, s)
		}
	}
	unhush()
})

// DropsSignals reports whether a worker drops them even before it calls DropSignals.
func DropsSignals() bool { return hushes }
