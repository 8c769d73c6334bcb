//go:build linux

package forkserver_test

import (
	"fmt"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/server"
)

func init() {
	apps["used"] = func() { // its server had a worker, and has none any more
		ended := make(chan struct{}, 2)
		workers := appTree(forkserver.Config{OnEvent: func(e server.Event) {
			if e.Type == server.WorkerEnded {
				ended <- struct{}{}
			}
		}}, basic)
		for _, co := range hold(workers) {
			co.Release()
		}
		workers.Close()
		<-ended
		<-ended
		fmt.Println("ready")
		select {}
	}
}

// Somebody stops the server again and again while its app dies, so that nothing it would do itself gets done.
func TestNothingOutlivesTheAppWithAServerThatIsStoppedThen(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]string{"no worker yet": "dropped", "no worker any more": "used", "workers": "idle"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := proctest.StartApp(t, mode)
			a.Says(t, "ready")
			pid, err := strconv.Atoi(a.Says(t, "server "))
			if err != nil {
				t.Fatal(err)
			}
			pidfd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				t.Skip(err)
			}
			defer unix.Close(pidfd)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for unix.PidfdSendSignal(pidfd, unix.SIGSTOP, nil, 0) == nil && proctest.Alive(pid) {
					for range 1000 {
						unix.PidfdSendSignal(pidfd, unix.SIGSTOP, nil, 0)
					}
				}
			}()
			proctest.Eventually(t, "it is stopped", func() bool { return proctest.State(pid) == "T" })
			a.Process.Kill()
			<-a.Ended
			proctest.Eventually(t, "all have ended", func() bool { return len(proctest.InTree(a.Mark)) == 0 })
			closed(t, "the end of the server", ended)
		})
	}
}
