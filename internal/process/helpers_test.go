//go:build linux || darwin

package process_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/leaktest"
	"github.com/bullpen-go/bullpen/internal/process"
)

const patience = 10 * time.Second // no wait takes longer

// envMode makes the test binary a child of a test: the function in modes of that name, with the rest as argument.
const envMode = "BULLPEN_PROCESS_TEST"

var modes = map[string]func(arg string){
	"exit": func(arg string) {
		code, _ := strconv.Atoi(arg)
		os.Exit(code)
	},
	"wait": func(string) { // for its end
		never := make(chan os.Signal, 1)
		signal.Notify(never, syscall.SIGUSR2) // or the runtime would call an empty select a deadlock
		fmt.Println("ready")
		<-never
	},
	"show": func(string) {
		dir, _ := os.Getwd()
		fmt.Printf("%q %s %s %d\n", os.Args, dir, os.Getenv("SHOWN"), syscall.Getpgrp())
	},
	"parent": func(arg string) { // leaves a child behind, in its process group or in a session of its own
		cmd := exec.Command("sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: arg == "setsid"}
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		fmt.Println(cmd.Process.Pid)
	},
	"reaper": reapAdopted,
}

func TestMain(m *testing.M) {
	mode, arg, _ := strings.Cut(os.Getenv(envMode), " ")
	if run := modes[mode]; run != nil {
		os.Unsetenv(envMode)
		run(arg)
		os.Exit(0)
	}
	if runtime.GOOS == "linux" {
		warmUp()
	}
	os.Exit(leaktest.Main(m))
}

// warmUp makes what lives as long as the process: the spawner's goroutine, and what package os keeps open for pidfds.
func warmUp() {
	if p, err := process.Start(process.Spec{Title: "warm up", Env: env("exit 0")}); err == nil {
		p.Wait()
	}
}

func env(mode string, more ...string) []string {
	return append(append(os.Environ(), envMode+"="+mode), more...)
}

// child is a started child whose standard output the test reads.
type child struct {
	*process.Process
	out   *bufio.Reader
	ended chan process.State
}

// start starts the test binary in the mode. Its end arrives in ended.
func start(t *testing.T, mode string, change func(*process.Spec)) *child {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	spec := process.Spec{Title: "child: " + mode, Env: env(mode), Files: []*os.File{nil, w, os.Stderr}, Death: syscall.SIGKILL}
	if change != nil {
		change(&spec)
	}
	p, err := process.Start(spec)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{p, bufio.NewReader(r), make(chan process.State, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.ended <- p.Wait()
	}()
	t.Cleanup(func() {
		p.Kill()
		<-done
		r.Close()
	})
	r.SetReadDeadline(time.Now().Add(patience))
	return c
}

// line reads a line that the child prints.
func (c *child) line(t *testing.T) string {
	t.Helper()
	s, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the child's output ended: %q, %v", s, err)
	}
	return strings.TrimSuffix(s, "\n")
}

// end waits for the child's end.
func (c *child) end(t *testing.T) process.State {
	t.Helper()
	select {
	case st := <-c.ended:
		return st
	case <-time.After(patience):
		t.Fatal("the child does not end")
		panic("unreachable")
	}
}

// eventually waits until ok returns true: for what nobody tells.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// alive reports whether a process of that pid runs. A zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return state[0] != 'Z' && state[0] != 'X'
}

func needProc(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
