//go:build amd64 || arm64

package role

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
)

// Signals that come while the process is hushed do nothing, on whatever thread, and afterwards the runtime has them again.
func TestHush(t *testing.T) {
	hush()
	for range 1000 {
		for _, s := range everybodys {
			if err := syscall.Kill(os.Getpid(), s); err != nil {
				t.Fatal(err)
			}
		}
		runtime.Gosched()
	}
	heard := make(chan os.Signal, 100)
	signal.Notify(heard, everybodys[0], everybodys[1], everybodys[2])
	unhush()
	for _, s := range everybodys {
		syscall.Kill(os.Getpid(), s)
		for got := <-heard; got != s; got = <-heard { // one of those before was still on its way
		}
	}
}
