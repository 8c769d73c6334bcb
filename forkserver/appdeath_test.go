//go:build linux

package forkserver_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

// printer is a logger's sink that prints.
type printer struct{}

// Accept implements hclog.SinkAdapter.
func (printer) Accept(_ string, _ hclog.Level, msg string, _ ...any) { fmt.Println("log: " + msg) }

// appTree is what an app of these tests begins with: a server, a pool, and two workers, all of whose pids it prints.
func appTree(c forkserver.Config, s *server.Service) *pool.Pool {
	logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: os.Stderr})
	logger.RegisterSink(printer{})
	c.Logger = logger
	srv, err := forkserver.Start(context.Background(), s, c)
	if err != nil {
		panic(err)
	}
	workers, err := pool.New(srv, pool.Config{MinWorkers: -1})
	if err != nil {
		panic(err)
	}
	fmt.Println("server", srv.Pid())
	return workers
}

// hold checks two workers out, prints their pids, and returns them.
func hold(workers *pool.Pool) (held [2]*pool.Checkout) {
	for i := range held {
		var err error
		if held[i], err = workers.Checkout(context.Background()); err != nil {
			panic(err)
		}
		fmt.Println("worker", i, held[i].Pid())
	}
	return held
}

func init() {
	ctx := context.Background()
	apps["idle"] = func() {
		for _, co := range hold(appTree(forkserver.Config{}, basic)) {
			co.Release()
		}
		fmt.Println("ready")
		select {}
	}
	apps["quiet"] = func() { // an app whose crash is not shown
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			panic(err)
		}
		syscall.Dup3(int(null.Fd()), 2, 0)
		apps["idle"]()
	}
	apps["standby"] = func() {
		workers := appTree(forkserver.Config{Limits: server.Limits{Standby: 2}}, basic)
		getpid.Call(ctx, workers)
		fmt.Println("ready")
		select {}
	}
	apps["dropped"] = func() { // whose Process nobody keeps
		appTree(forkserver.Config{}, basic)
		fmt.Println("ready")
		select {}
	}
	apps["block"] = func() { // the argument says how
		held := hold(appTree(forkserver.Config{}, basic))
		go block.Call(ctx, held[0], os.Getenv("HOW"))
		select {} // the worker prints when it blocks
	}
	apps["children"] = func() {
		held := hold(appTree(forkserver.Config{}, basic))
		pids, err := children.Call(ctx, held[0], 3, false)
		fmt.Println("children", pids, err)
		fmt.Println("ready")
		select {}
	}
	apps["spawning"] = func() { // workers are started all the time
		workers := appTree(forkserver.Config{Limits: server.Limits{Standby: 2}}, basic)
		fmt.Println("ready")
		for range 4 {
			go func() {
				for {
					co, err := workers.Checkout(ctx)
					if err != nil {
						panic(err)
					}
					co.Abort(nil)
					co.Release()
				}
			}()
		}
		select {}
	}
	apps["setup"] = func() { // a worker is in its Setup hook
		workers := appTree(forkserver.Config{SetupData: setupData{Mode: "block"}}, hooked)
		getpid.Call(ctx, workers)
		select {}
	}
}

func TestNothingOutlivesTheApp(t *testing.T) {
	t.Parallel()
	none := func(*testing.T, *proctest.App) {}
	stop := func(which ...string) func(*testing.T, *proctest.App) {
		return func(t *testing.T, a *proctest.App) {
			for _, w := range which {
				pid, err := strconv.Atoi(a.Says(t, w))
				if err != nil {
					t.Fatal(err)
				}
				stop(t, pid)
			}
		}
	}
	for _, test := range []struct {
		name, mode, how, ready string
		before                 func(*testing.T, *proctest.App)
	}{
		{"idle", "idle", "", "ready", none},
		{"standby workers", "standby", "", "ready", none},
		{"Process nobody keeps", "dropped", "", "ready", none},
		{"mid-call", "block", "select", "log: blocking", none},
		{"worker in a loop", "block", "loop", "log: blocking", none},
		{"worker in a raw system call", "block", "raw", "log: blocking", none},
		{"worker in Setup", "setup", "", "log: setting up", none},
		{"worker with children", "children", "", "ready", none},
		{"server stopped", "idle", "", "ready", stop("server ")},
		{"worker stopped", "idle", "", "ready", stop("worker 0 ")},
		{"server and worker stopped", "idle", "", "ready", stop("server ", "worker 0 ")},
		{"server stopped, worker in a loop", "block", "loop", "log: blocking", stop("server ")},
		{"server stopped, worker in a raw system call", "block", "raw", "log: blocking", stop("server ")},
		{"server stopped, worker with children", "children", "", "ready", stop("server ")},
		{"worker with children stopped", "children", "", "ready", stop("worker 0 ")},
		{"all stopped, with children", "children", "", "ready", stop("server ", "worker 0 ", "worker 1 ")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := proctest.StartApp(t, test.mode, "HOW="+test.how)
			a.Says(t, test.ready)
			test.before(t, a)
			if n := len(proctest.InTree(a.Mark)); n < 2 {
				t.Fatalf("only %d processes in the tree", n)
			}
			a.Process.Kill()
			<-a.Ended
			proctest.Gone(t, a.Mark, survival)
		})
	}
}

func TestNothingOutlivesAnAppThatSpawns(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{0, 3 * time.Millisecond, 7 * time.Millisecond, 20 * time.Millisecond, 60 * time.Millisecond, 150 * time.Millisecond} {
		t.Run(fmt.Sprint(delay), func(t *testing.T) {
			t.Parallel()
			a := proctest.StartApp(t, "spawning")
			a.Says(t, "ready")
			time.Sleep(delay) // to meet a spawn at another point each time
			a.Process.Kill()
			<-a.Ended
			proctest.Gone(t, a.Mark, survival)
		})
	}
}

// However an app ends: its tree goes with it, also without Close.
func TestNothingOutlivesAnAppThatExits(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGSEGV} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			if signal.Ignored(sig) {
				t.Skip("the tests were started with this signal ignored, as a shell does it with what runs in its background")
			}
			a := proctest.StartApp(t, "quiet")
			a.Says(t, "ready")
			a.Process.Signal(sig)
			closed(t, "the app's end", a.Ended)
			proctest.Gone(t, a.Mark, survival)
		})
	}
}

func init() {
	apps["garbage"] = func() { // the Process is collected, its server stays
		workers := appTree(forkserver.Config{}, basic)
		workers.Close()
		for range 10 {
			collect()
		}
		fmt.Println("ready")
		select {}
	}
}

func TestServerOfADroppedProcessLives(t *testing.T) {
	t.Parallel()
	a := proctest.StartApp(t, "garbage")
	a.Says(t, "ready")
	pid, _ := strconv.Atoi(a.Says(t, "server "))
	if !proctest.Alive(pid) || !strings.HasPrefix(proctest.Title(pid), "bullpen server: basic") {
		t.Errorf("state %q, title %q", proctest.State(pid), proctest.Title(pid))
	}
}
