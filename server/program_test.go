//go:build linux

package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func init() {
	apps["listen and serve"] = func() { // until SIGTERM
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err := server.ListenAndServe(ctx, "unix", os.Getenv("SOCKET"), basic)
		fmt.Println("returned", err)
		if err != nil {
			os.Exit(1)
		}
	}
	apps["serve"] = func() { // on TCP, with what its workers print on its own output
		l, err := server.Listen(basic, "tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		fmt.Println("address", l.Addr())
		logger := hclog.New(&hclog.LoggerOptions{Output: os.Stdout, DisableTime: true})
		panic((&server.Server{Service: basic, Limits: server.Limits{Standby: 1}, Logger: logger}).Serve(l))
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func startProgram(t *testing.T, socket string) *proctest.App {
	t.Helper()
	return proctest.StartApp(t, "listen and serve", "SOCKET="+socket)
}

func TestProgramOfItsOwn(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "socket")
	p := newPool(t, pool.Unix(socket), pool.Config{MaxWorkers: 2}) // before the server
	early := getpid.Go(proctest.Limited(t), p)
	proctest.Eventually(t, "the pool has tried", func() bool { return p.Stat().Failures > 0 })
	program := startProgram(t, socket)
	pid, err := early.Wait()
	if err != nil || pid == program.Process.Pid {
		t.Errorf("worker %d, %v", pid, err)
	}
	second := startProgram(t, socket)
	if got := second.Says(t, "returned"); !strings.Contains(got, "another server answers") {
		t.Errorf("a second program: %s", got)
	}
	<-second.Ended

	running := show.Go(proctest.Limited(t), p, socket+" is busy")
	proctest.Eventually(t, "the call runs", func() bool { return exists(socket + " is busy") })
	program.Process.Kill()
	<-program.Ended
	begin := time.Now()
	proctest.Eventually(t, "all of the program ends", func() bool { return len(proctest.InTree(program.Mark)) == 0 })
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("its workers have ended after %v", took)
	}
	var died *pool.WorkerDiedError
	if _, err := running.Wait(); !errors.As(err, &died) {
		t.Errorf("the running call: %v", err)
	}
	if _, err := os.Lstat(socket); err != nil {
		t.Errorf("the socket of a killed program: %v", err)
	}
	later := getpid.Go(proctest.Limited(t), p)
	again := startProgram(t, socket) // in the place of the stale socket
	if pid, err := later.Wait(); err != nil || pid == again.Process.Pid {
		t.Errorf("the next program's worker %d, %v", pid, err)
	}
}

func TestProgramEndsWithItsContext(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "socket")
	program := startProgram(t, socket)
	p := newPool(t, pool.Unix(socket), pool.Config{})
	show.Go(proctest.Limited(t), p, socket+" is busy")
	if _, err := getpid.Call(proctest.Limited(t), p); err != nil {
		t.Fatal(err)
	}
	proctest.Eventually(t, "the call runs", func() bool { return exists(socket + " is busy") })
	program.Process.Signal(syscall.SIGTERM)
	if got := program.Says(t, "returned"); got != "<nil>" {
		t.Errorf("ListenAndServe: %s", got)
	}
	<-program.Ended
	if left := proctest.InTree(program.Mark); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket file: %v", err)
	}
}

func TestProgramOnTCP(t *testing.T) {
	t.Parallel()
	program := proctest.StartApp(t, "serve")
	address := program.Says(t, "address ")
	for _, kind := range []wire.Kind{wire.Binary, wire.JSON} {
		p := newPool(t, pool.TCP(address, nil), pool.Config{Wire: kind})
		if got, err := echo.Call(proctest.Limited(t), p, "over TCP"); err != nil || got != "over TCP" {
			t.Errorf("%v: %q, %v", kind, got, err)
		}
		ctx, cancel := context.WithCancel(proctest.Limited(t))
		running := wait.Go(ctx, p)
		program.Lines.Wait(t, "the call runs", func(s string) bool { return strings.Contains(s, "waiting: ") })
		cancel()
		if _, err := running.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("%v: %v", kind, err)
		}
	}
}

func TestListenAndServeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "socket")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.ListenAndServe(ctx, "unix", socket, basic) }()
	p := newPool(t, pool.Unix(socket), pool.Config{})
	if _, err := getpid.Call(proctest.Limited(t), p); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket file: %v", err)
	}
	if err := server.ListenAndServe(ctx, "unix", socket, basic); err != nil { // it has ended before
		t.Error(err)
	}
	if err := server.ListenAndServe(ctx, "unix", "@abstract", basic); err == nil {
		t.Error("no error")
	}
	late := server.NewService("late "+proctest.NewMark(), server.Hooks{})
	if err := server.ListenAndServe(context.Background(), "unix", socket, late); err == nil || !strings.Contains(err.Error(), "after forkserver.Init") {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket file: %v", err)
	}
}

// What an AnyEvent::Task client says, byte by byte, and what it gets.
func TestConversationInJSON(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{})
	c := dial(t, "unix", s.serve(t, "unix"))
	r := bufio.NewReader(c)
	for _, turn := range [][2]string{
		{`["do",{},"echo","☃"]`, `["ok",{},"☃"]`},
		{`["do", {"x":[1,2]}, "echo", "\u2603\n"]`, `["ok",{},"☃\n"]`},
		{`["dn",{}]["do",{},"echo","after"]`, `["ok",{},"after"]`},
		{`["do",{},"none"]`, `["er",{`},
		{`["do",{},"echo"]`, `["er",{`},
		{`["do",{},"echo",{"a":1}]`, `["er",{`},
		{`["do",{},"echo","lives on"]`, `["ok",{},"lives on"]`},
	} {
		for _, b := range []byte(turn[0]) {
			if _, err := c.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		answer, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(answer, turn[1]) {
			t.Errorf("%s: %q, %v", turn[0], answer, err)
		}
	}
}
