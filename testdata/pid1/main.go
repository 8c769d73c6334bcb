//go:build linux

// Command pid1 is an app that is meant to be the first process of a PID namespace, as in a container without an init. It
// is run by TestPID1, and prints what it sees.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

var service = server.NewService("pid1", server.Hooks{})

// orphan starts a process whose parent ends at once, and returns its pid.
var orphan = server.Handle0(service, "orphan", func(context.Context) (string, error) {
	out, err := exec.Command("sh", "-c", "setsid sleep 0.05 >/dev/null 2>&1 & echo $!").Output()
	return strings.TrimSpace(string(out)), err
})

func main() {
	forkserver.Init()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	srv, err := forkserver.Start(ctx, service, forkserver.Config{})
	if err != nil {
		log.Fatal(err)
	}
	workers, err := pool.New(srv, pool.Config{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("pid", os.Getpid())
	pid, err := orphan.Call(ctx, workers)
	fmt.Println("call", err)
	wait("the orphan to be reaped", func() bool { return !exists(pid) })
	fmt.Println("orphan reaped")

	old := srv.Pid()
	syscall.Kill(old, syscall.SIGKILL)
	wait("another server", func() bool { return srv.Pid() != 0 && srv.Pid() != old })
	wait("a call", func() bool { _, err := orphan.Call(ctx, workers); return err == nil })
	wait("the old server to be reaped", func() bool { return !exists(fmt.Sprint(old)) })
	fmt.Println("healed")

	syscall.Kill(os.Getpid(), syscall.SIGTERM)
	<-ctx.Done()
	workers.Close()
	fmt.Println("close", srv.Close())
	wait("everything to end", func() bool { return len(others()) == zombies() })
	fmt.Println("zombies of the killed server's workers:", zombies() > 0)
}

func exists(pid string) bool {
	_, err := os.Stat("/proc/" + pid)
	return err == nil
}

// others returns the states of all other processes of the namespace.
func others() (states []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if _, rest, ok := strings.Cut(string(b), ") "); err == nil && ok && f != "/proc/1/stat" {
			states = append(states, rest[:1])
		}
	}
	return states
}

func zombies() (n int) {
	for _, s := range others() {
		if s == "Z" {
			n++
		}
	}
	return n
}

// wait waits for what nobody tells.
func wait(what string, ok func() bool) {
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			log.Fatalf("waited in vain for %s; other processes: %v", what, others())
		}
	}
}
