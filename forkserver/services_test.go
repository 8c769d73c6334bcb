//go:build linux

package forkserver_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// basic is the service of most tests. Its handlers print what they do before they do what can't be waited for.
var basic = server.NewService("basic", server.Hooks{})

var (
	getpid = server.Handle0(basic, "getpid", func(context.Context) (int, error) { return os.Getpid(), nil })

	echo = server.Handle(basic, "echo", func(_ context.Context, s string) (string, error) { return s, nil })

	// wait returns when its context ends.
	wait = server.Handle0(basic, "wait", func(ctx context.Context) (wire.None, error) {
		fmt.Println("waiting")
		<-ctx.Done()
		fmt.Println("canceled")
		return wire.None{}, context.Cause(ctx)
	})

	// sleep returns after so many milliseconds, whatever happens.
	sleep = server.Handle(basic, "sleep", func(_ context.Context, ms int) (string, error) {
		fmt.Println("sleeping")
		time.Sleep(time.Duration(ms) * time.Millisecond)
		return "slept", nil
	})

	// block never returns: in a select, in a loop, in a raw system call.
	block = server.Handle(basic, "block", func(_ context.Context, how string) (wire.None, error) {
		fmt.Println("blocking")
		switch how {
		case "loop":
			for n := 0; ; n++ {
				sink = n
			}
		case "raw":
			for { // a signal interrupts it
				unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
			}
		}
		select {}
	})

	// die ends the worker in one of many ways.
	die = server.Handle(basic, "die", func(_ context.Context, how string) (wire.None, error) {
		ways[how]()
		return wire.None{}, nil
	})

	// children starts so many processes that sleep, in the worker's process group or in sessions of their own.
	children = server.Handle2(basic, "children", func(_ context.Context, n int, setsid bool) (pids []int, err error) {
		for range n {
			cmd := exec.Command("sleep", "1000")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: setsid}
			if err := cmd.Start(); err != nil {
				return pids, err
			}
			pids = append(pids, cmd.Process.Pid)
		}
		return pids, nil
	})

	// printOut and printErr print a text so many times.
	printOut = server.Handle2(basic, "printOut", func(_ context.Context, s []byte, n int) (wire.None, error) {
		for range n {
			os.Stdout.Write(s)
		}
		return wire.None{}, nil
	})
	printErr = server.Handle2(basic, "printErr", func(_ context.Context, s []byte, n int) (wire.None, error) {
		for range n {
			os.Stderr.Write(s)
		}
		return wire.None{}, nil
	})

	// lockThreads runs goroutines that end locked to their threads.
	lockThreads = server.Handle(basic, "lockThreads", func(_ context.Context, n int) (int, error) {
		endThreads(n)
		return os.Getpid(), nil
	})

	// shell runs a command and returns what it prints.
	shell = server.Handle(basic, "shell", func(_ context.Context, script string) (string, error) {
		out, err := exec.Command("/bin/sh", "-c", script).Output()
		return strings.TrimSpace(string(out)), err
	})
)

var sink int

func endThreads(n int) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			runtime.LockOSThread() // and never unlocked
			os.Getpid()
		})
	}
	all.Wait()
}

// ways are how a worker can end.
var ways = map[string]func(){
	"exit 0":  func() { os.Exit(0) },
	"exit 3":  func() { os.Exit(3) },
	"said":    func() { fmt.Fprintln(os.Stderr, "last words"); os.Exit(4) },
	"SIGKILL": func() { syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} },
	"SIGSEGV": func() { syscall.Kill(os.Getpid(), syscall.SIGSEGV); select {} },
	"SIGABRT": func() { syscall.Kill(os.Getpid(), syscall.SIGABRT); select {} },
	"panic": func() { // on a goroutine that nobody guards
		go panic("out of order")
		select {}
	},
	"nil": func() {
		go func() { fmt.Println(*(*int)(nil)) }()
		select {}
	},
	"map race": func() {
		m := map[int]int{}
		for range 4 {
			go func() {
				for i := 0; ; i++ {
					m[i%100] = i
				}
			}()
		}
		select {}
	},
	"stack overflow": func() {
		debug.SetMaxStack(1 << 20) // of 1 GiB
		fmt.Println(overflow(1))
	},
	"long stderr": func() {
		os.Stderr.WriteString("first line\n" + strings.Repeat("0123456789abcde\n", 4096) + "last line\n")
		os.Exit(5)
	},
}

//lint:ignore SA5007 the stack is meant to overflow
func overflow(n int) int { return overflow(n+1) + n }

// poolConfig is a pool that connects when somebody wants a worker.
var poolConfig = pool.Config{MinWorkers: -1}
