//go:build linux || darwin

package forkserver

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/bullpen-go/bullpen/internal/role"
)

// watchParent looks at each SIGCONT whether the app lives: its workers send one when it has died (server.watchApp), before
// they kill this process, which could then not end what they have started. The pipe and the control socket don't tell
// while somebody else holds the app's ends: what a library has forked without exec, say.
func (p *serverProcess) watchParent() {
	woken := make(chan os.Signal, 1)
	signal.Notify(woken, syscall.SIGCONT)
	go func() {
		for os.Getppid() == role.Parent() { // at first, too: the signal may have come before Notify
			<-woken
		}
		p.orphaned()
	}()
}
