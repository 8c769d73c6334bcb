//go:build linux

package forkserver_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// Who waits for a worker while the server dies is served by the next one.
func TestWaitingCheckoutsOutliveTheServer(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, pool.Config{MaxWorkers: 1})
	co := checkout(t, p)
	running := wait.Go(context.Background(), co)
	tr.logs.said(t, "waiting")
	var waiting []*wire.Pending[int]
	for range 5 {
		waiting = append(waiting, getpid.Go(proctest.Limited(t), p))
	}
	proctest.Eventually(t, "they wait", func() bool { return p.Stat().Waiting == 5 })
	kill(tr.Pid(), syscall.SIGKILL)
	var died *pool.WorkerDiedError
	if _, err := running.Wait(); !errors.As(err, &died) {
		t.Errorf("the running call: %v", err)
	}
	for i, c := range waiting {
		if pid, err := c.Wait(); err != nil || pid == co.Pid() {
			t.Errorf("call %d: worker %d, %v", i, pid, err)
		}
	}
}

// Nobody holds a copy of a connection whose worker has it: the worker's death shows, also while its server can't tell.
func TestDeathIsSeenWithoutTheServer(t *testing.T) {
	t.Parallel()
	for _, standby := range []int{0, 1} {
		t.Run(fmt.Sprint(standby, " standbys"), func(t *testing.T) {
			t.Parallel()
			tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: standby}})
			if standby > 0 {
				tr.ready(t, standby)
			}
			p := newPool(t, tr, pool.Config{MinWorkers: -1, Timeout: patience})
			co := checkout(t, p)
			srv := tr.Pid()
			own := must(look.Call(proctest.Limited(t), co))(t).Files
			proctest.Eventually(t, "the server closes its copy", func() bool { return !holdsSocket(srv, own) })
			running := wait.Go(context.Background(), co)
			tr.logs.said(t, "waiting")
			stop(t, srv)
			kill(co.Pid(), syscall.SIGKILL)
			begin := time.Now()
			_, err := running.Wait()
			var died *pool.WorkerDiedError
			if !errors.As(err, &died) {
				t.Errorf("after %v: %v", time.Since(begin), err)
			}
			kill(srv, syscall.SIGCONT)
		})
	}
}

// holdsSocket reports whether a process has one of these sockets open.
func holdsSocket(pid int, files map[string]string) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		target, _ := os.Readlink(fd)
		if strings.HasPrefix(target, "socket:") && slices.Contains(slices.Collect(maps.Values(files)), target) {
			return true
		}
	}
	return false
}
