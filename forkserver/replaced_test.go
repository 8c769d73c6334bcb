//go:build linux

package forkserver_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
)

func init() {
	apps["replaced"] = func() { // starts a worker, and a server, at each line of its input
		workers := appTree(forkserver.Config{}, basic)
		ctx := context.Background()
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			co, err := workers.Checkout(ctx) // never released
			if err != nil {
				panic(err)
			}
			pid, err := getpid.Call(ctx, co)
			fmt.Println("worker", pid, err)
			srv, err := forkserver.Start(ctx, otherService, forkserver.Config{})
			if err != nil {
				panic(err)
			}
			others, err := pool.New(srv, pool.Config{MinWorkers: -1})
			if err != nil {
				panic(err)
			}
			name, err := otherName.Call(ctx, others)
			fmt.Println("another server", name, err)
			others.Close()
			srv.Close()
		}
	}
}

// The program's file is touched, replaced, as an upgrade does it, and deleted: the running program goes on by itself.
func TestProgramIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "program")
	copyFile(t, "/proc/self/exe", path)
	a := proctest.NewApp(path, "replaced")
	in, err := a.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	a.Launch(t)
	steps := []func() error{
		func() error { return nil },
		func() error { return os.Chtimes(path, time.Now(), time.Now()) },
		func() error { return os.Rename(path, path+".old") },
		func() error { return os.WriteFile(path, []byte("#!/bin/sh\nexit 9\n"), 0o755) }, // another program has its name
		func() error { return os.Remove(path + ".old") },
		func() error { return os.RemoveAll(dir) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		io.WriteString(in, "\n")
		count := func(what string) (n int) {
			for _, line := range a.Lines.List() {
				if strings.HasPrefix(line, what) && strings.HasSuffix(line, "<nil>") {
					n++
				}
			}
			return n
		}
		a.Lines.Wait(t, fmt.Sprintf("the %d. worker", i+1), func(string) bool { return count("worker ") == i+1 })
		a.Lines.Wait(t, fmt.Sprintf("the %d. server", i+1), func(string) bool { return count("another server other") == i+1 })
	}
	in.Close()
	<-a.Ended
}

func init() {
	apps["restarts"] = func() { // restarts its server under load, ten times at each line of its input
		srv, err := forkserver.Start(context.Background(), basic, forkserver.Config{})
		if err != nil {
			panic(err)
		}
		workers, err := pool.New(srv, pool.Config{MaxWorkers: 4})
		if err != nil {
			panic(err)
		}
		stop := load(workers, 8)
		n := 0
		for in := bufio.NewScanner(os.Stdin); in.Scan(); fmt.Println("restarts", n) {
			for range 10 {
				before := srv.Pid()
				if err := srv.Restart(context.Background()); err != nil || srv.Pid() == before {
					fmt.Println("restart", n, srv.Pid(), before, err)
				}
				if _, err := getpid.Call(context.Background(), workers); err != nil {
					fmt.Println("call after restart", n, err)
				}
				n++
			}
		}
		calls, errs := stop()
		fmt.Println("calls", calls > 0, errs)
		workers.Close()
		srv.Close()
	}
}

// 100 restarts under load fail no call, whatever becomes of the program's file.
func TestRestartsWhileTheProgramIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "program")
	copyFile(t, "/proc/self/exe", path)
	a := proctest.NewApp(path, "restarts")
	in, err := a.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	a.Launch(t)
	nothing := func() error { return nil }
	steps := []func() error{
		nothing,
		func() error { return os.Rename(path, path+".old") },
		func() error { return os.WriteFile(path, []byte("#!/bin/sh\nexit 9\n"), 0o755) },
		func() error { return os.Remove(path + ".old") },
		func() error { return os.RemoveAll(dir) },
	}
	for len(steps) < 10 {
		steps = append(steps, nothing)
	}
	if testing.Short() {
		steps = steps[:5]
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		io.WriteString(in, "\n")
		a.Says(t, fmt.Sprint("restarts ", 10*(i+1)))
	}
	in.Close()
	if got := a.Says(t, "calls "); got != "true []" {
		t.Errorf("calls: %s", got)
	}
	<-a.Ended
	for _, line := range a.Lines.List() {
		if strings.HasPrefix(line, "restart ") || strings.HasPrefix(line, "call after") {
			t.Error(line)
		}
	}
}

// copyFile copies in another process. In this one, a child that is just being forked would hold the new program open for
// writing, and it could not be started.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	from, err := filepath.EvalSymlinks(from)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// A helper binary that has the services: here a copy of this one.
func TestPathOfAHelper(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "helper")
	copyFile(t, "/proc/self/exe", path)
	tr := start(t, basic, forkserver.Config{Path: path})
	p := newPool(t, tr, poolConfig)
	pid := must(getpid.Call(proctest.Limited(t), p))(t)
	for _, pid := range []int{tr.Pid(), pid} {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil || exe != path {
			t.Errorf("process %d runs %s, %v", pid, exe, err)
		}
	}
}

// A helper that doesn't have the service says so.
func TestPathOfAHelperWithoutTheService(t *testing.T) {
	t.Parallel()
	_, err := tryStart(t, context.Background(), basic, forkserver.Config{Path: program(t, "otherservice")})
	if err == nil || !strings.Contains(err.Error(), `no service "basic"`) {
		t.Errorf("%v", err)
	}
}
