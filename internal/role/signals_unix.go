//go:build linux || darwin

package role

import (
	"os"
	"os/signal"
	"syscall"
)

// dropSignals catches what a terminal or a service manager sends to everybody: the app decides what it means. The
// signals are caught, not ignored, as programs that a worker starts would inherit that.
func dropSignals() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
}
