//go:build linux

package forkserver_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func init() {
	apps["interrupted"] = func() { // notes signals, and goes on
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		held := hold(appTree(forkserver.Config{Limits: server.Limits{Standby: 1},
			OnEvent: func(e server.Event) { fmt.Println("event", e.Type, e.Number) }}, basic))
		running := sleep.Go(context.Background(), held[0], 300)
		fmt.Println("got", <-signals)
		got, err := running.Wait()
		fmt.Println("call", got, err)
		pid, err := getpid.Call(context.Background(), held[1])
		fmt.Println("other", pid, err)
		select {}
	}
}

// Ctrl-C, and what a service manager sends to all processes, is for the app alone. It decides.
func TestSignalsToEverybodyEndNoCall(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		for _, to := range []string{"group", "all"} {
			t.Run(fmt.Sprint(sig, " to ", to), func(t *testing.T) {
				t.Parallel()
				a := proctest.StartApp(t, "interrupted")
				a.Says(t, "log: sleeping")
				for n := range 3 {
					a.Says(t, fmt.Sprint("event worker ready ", n+1))
				}
				before := proctest.InTree(a.Mark)
				if to == "group" {
					kill(-a.Process.Pid, sig)
				} else { // as systemd does it
					for _, p := range before {
						kill(p.Pid, sig)
					}
				}
				if got := a.Says(t, "got "); got != sig.String() {
					t.Errorf("the app got %s", got)
				}
				if got := a.Says(t, "call "); got != "slept <nil>" {
					t.Errorf("the call: %s", got)
				}
				if got := a.Says(t, "other "); got != a.Says(t, "worker 1 ")+" <nil>" {
					t.Errorf("the other worker: %s", got)
				}
				for _, p := range before {
					if !proctest.Alive(p.Pid) {
						t.Errorf("%s, %d, was ended", p.Title, p.Pid)
					}
				}
			})
		}
	}
}

// What a worker starts obeys signals as usual.
func TestChildrenOfAWorkerObeySignals(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	for _, pid := range must(children.Call(proctest.Limited(t), co, 2, false))(t) {
		kill(pid, syscall.SIGINT)
		proctest.Ends(t, pid, patience)
	}
	if _, err := getpid.Call(proctest.Limited(t), co); err != nil {
		t.Error(err)
	}
}

var (
	// signalMe sends the worker signals while it serves the call, then has a program that it starts send itself one, and returns
	// what ended that.
	signalMe = server.Handle0(basic, "signal me", func(context.Context) (string, error) {
		for range 100 {
			for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
				kill(os.Getpid(), sig)
			}
		}
		err := exec.Command("sh", "-c", "kill -TERM $$; sleep 1000").Run()
		return fmt.Sprint(err), nil
	})

	// listen asks package os/signal for a signal, and sends it until it comes or the call is cancelled.
	listen = server.Handle0(basic, "listen", func(ctx context.Context) (string, error) {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		defer signal.Stop(signals)
		for {
			kill(os.Getpid(), syscall.SIGTERM)
			select {
			case sig := <-signals:
				return sig.String(), nil
			case <-ctx.Done():
				return "", ctx.Err()
			case <-time.After(10 * time.Millisecond): // it may have come before anybody listened
			}
		}
	})
)

// A worker drops signals from its first call on, what it starts obeys them, and package os/signal works in it.
func TestSignalsInAWorkersFirstCall(t *testing.T) {
	t.Parallel()
	p := newPool(t, start(t, basic, forkserver.Config{}), pool.Config{MinWorkers: -1, MaxWorkers: 8})
	var heard []*wire.Pending[string]
	for range 8 {
		co := checkout(t, p)
		if got := must(signalMe.Call(proctest.Limited(t), co))(t); got != "signal: terminated" {
			t.Errorf("the worker's child: %s", got)
		}
		heard = append(heard, listen.Go(proctest.Limited(t), co))
	}
	for _, h := range heard {
		if got := must(h.Wait())(t); got != "terminated" {
			t.Errorf("a worker heard of %s", got)
		}
	}
}

func init() {
	apps["threads"] = func() { // ends threads in the app and in a worker, while others work
		workers := appTree(forkserver.Config{Limits: server.Limits{Standby: 2}}, basic)
		ctx := context.Background()
		var held []*pool.Checkout
		for range 4 {
			co, err := workers.Checkout(ctx)
			if err != nil {
				panic(err)
			}
			held = append(held, co)
		}
		for range 2 {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				endThreads(200)
			}()
			for _, co := range held {
				if pid, err := lockThreads.Call(ctx, co, 50); err != nil || pid != co.Pid() {
					fmt.Println("dead", co.Pid(), pid, err)
				}
			}
			<-ended
		}
		for _, co := range held {
			pid, err := getpid.Call(ctx, co)
			fmt.Println("alive", pid == co.Pid(), err)
		}
		fmt.Println("ready")
		select {}
	}
}

// A parent-death signal comes when the thread dies that has spawned. Goroutines that end locked to their threads end
// those.
func TestThreadsThatEndKillNobody(t *testing.T) {
	t.Parallel()
	a := proctest.StartApp(t, "threads")
	a.Says(t, "ready")
	n := 0
	for _, line := range a.Lines.List() {
		switch line {
		case "alive true <nil>":
			n++
		default:
			if len(line) > 4 && line[:4] == "dead" {
				t.Error(line)
			}
		}
	}
	if n != 4 {
		t.Errorf("%d of 4 workers live: %q", n, a.Lines.List())
	}
	pid, _ := strconv.Atoi(a.Says(t, "server "))
	if !proctest.Alive(pid) {
		t.Error("the server has died")
	}
	ready := 0
	proctest.Eventually(t, "the standby workers are there", func() bool {
		ready = len(proctest.InTree(a.Mark))
		return ready == 1+1+4+2
	})
}

// The same in a server that is part of the app, where the app's threads spawn the workers.
func TestThreadsThatEndKillNoWorkerOfAServerInTheApp(t *testing.T) {
	t.Parallel()
	tr := start(t, nesting, forkserver.Config{}) // its worker is the app
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	before := must(inner.Call(proctest.Limited(t), co, "own"))(t)
	endThreads(200)
	must(innerThreads.Call(proctest.Limited(t), co, 200))(t)
	if after := must(inner.Call(proctest.Limited(t), co, "own"))(t); after != before {
		t.Errorf("worker %d took the place of %d", after, before)
	}
}
