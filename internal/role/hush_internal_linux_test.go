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
	defer signal.Stop(heard)
	unhush()
	for _, s := range everybodys {
		syscall.Kill(os.Getpid(), s)
		for got := <-heard; got != s; got = <-heard { // one of those before was still on its way
		}
	}
}

// What somebody has done with a signal meanwhile stays.
func TestUnhushLeavesWhatOthersHaveSet(t *testing.T) {
	hush()
	signal.Ignore(syscall.SIGHUP)
	unhush()
	var now sigaction
	if !rtSigaction(syscall.SIGHUP, nil, &now) || now.handler != ignored {
		t.Errorf("SIGHUP has the handler %#x", now.handler)
	}
	signal.Reset(syscall.SIGHUP)
}
