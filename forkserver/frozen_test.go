//go:build linux

package forkserver_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

// A frozen worker may outlive SIGKILL: a cgroup of version 1 holds it until it is thawed, as a disk that doesn't answer
// does. Its call ends in time, its slot is free, and Close says who is left.
func TestWorkerThatDoesNotDie(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	freezer := proctest.NewFreezer(t, "bullpen-frozen-"+proctest.NewMark())
	p := newPool(t, tr, pool.Config{MinWorkers: -1, MaxWorkers: 1})
	co := checkout(t, p)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	running := wait.Go(ctx, co)
	tr.logs.said(t, "waiting")
	freezer.Freeze(t, co.Pid())

	cancel()
	if _, err := running.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("the call: %v", err)
	}
	if pid, err := getpid.Call(proctest.Limited(t), p); err != nil || pid == co.Pid() {
		t.Errorf("the next call: worker %d, %v", pid, err)
	}
	err := tr.Close()
	if pid := strconv.Itoa(co.Pid()); proctest.Alive(co.Pid()) != (err != nil && strings.Contains(err.Error(), pid)) {
		t.Errorf("worker %s is in state %q, and Close says: %v", pid, proctest.State(co.Pid()), err)
	}
	freezer.Thaw(t)
	proctest.Gone(t, tr.mark, survival)
}

// What is hung and frozen is given up, too, while its client waits.
func TestFrozenWorkerIsHung(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{HungTimeout: time.Second}})
	freezer := proctest.NewFreezer(t, "bullpen-hung-"+proctest.NewMark())
	p := newPool(t, tr, pool.Config{MinWorkers: -1, MaxWorkers: 1, Timeout: 3 * time.Second})
	co := checkout(t, p)
	running := wait.Go(context.Background(), co)
	tr.logs.said(t, "waiting")
	freezer.Freeze(t, co.Pid())
	_, err := running.Wait()
	var died *pool.WorkerDiedError
	var timeout *pool.TimeoutError
	if !errors.As(err, &died) && !errors.As(err, &timeout) {
		t.Errorf("%v", err)
	}
	freezer.Thaw(t)
	if _, err := getpid.Call(proctest.Limited(t), p); err != nil {
		t.Errorf("the next call: %v", err)
	}
}
