//go:build linux || darwin

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
)

var binary string // the command, built by TestMain

// testApps are what the test binary can be instead of a test.
var testApps = map[string]func(){}

const testAppEnv = proctest.EnvApp

func TestMain(m *testing.M) {
	forkserver.Init()
	chaosVictim()
	if run := testApps[os.Getenv(testAppEnv)]; run != nil {
		run()
		os.Exit(0)
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "bullpen-test")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		os.Chmod(dir, 0o755) // other users run it too
		binary = filepath.Join(dir, "bullpen")
		if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// window is a run of the command, as in a terminal's window: in a process group of its own.
type window struct {
	*exec.Cmd
	t    *testing.T
	mark string // of all its processes
	end  chan error

	mu    sync.Mutex // guards all below
	lines []string
	more  chan struct{} // closed when there is another line
}

// open runs the command with the arguments.
func open(t *testing.T, args ...string) *window {
	t.Helper()
	w := &window{Cmd: exec.Command(binary, args...), t: t, mark: proctest.NewMark(), end: make(chan error, 1), more: make(chan struct{})}
	w.Env = append(os.Environ(), proctest.EnvMark+"="+w.mark)
	w.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.Stdout, w.Stderr = wr, wr
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	wr.Close()
	t.Cleanup(func() { syscall.Kill(-w.Process.Pid, syscall.SIGKILL) })
	go w.read(r)
	return w
}

func (w *window) read(r io.ReadCloser) {
	defer r.Close()
	for s := bufio.NewScanner(r); s.Scan(); {
		w.mu.Lock()
		w.lines = append(w.lines, s.Text())
		close(w.more)
		w.more = make(chan struct{})
		w.mu.Unlock()
	}
	w.end <- w.Wait()
}

// text returns what the command has printed so far, and a channel that is closed when there is more.
func (w *window) text() (string, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.lines, "\n"), w.more
}

// wait waits until the command has printed s.
func (w *window) wait(s string) {
	w.t.Helper()
	late := time.After(patience)
	for {
		text, more := w.text()
		if strings.Contains(text, s) {
			return
		}
		select {
		case <-more:
		case <-late:
			w.t.Fatalf("%v does not print %q, but:\n%s", w.Args, s, text)
		}
	}
}

// ends waits for the command's end, checks its exit code and that nothing of it is left, and returns what it printed.
func (w *window) ends(code int) string {
	w.t.Helper()
	select {
	case <-w.end:
	case <-time.After(patience):
		text, _ := w.text()
		w.t.Fatalf("%v does not end. It printed:\n%s", w.Args, text)
	}
	text, _ := w.text()
	if got := w.ProcessState.ExitCode(); got != code {
		w.t.Errorf("%v ended with %v, want exit code %d. It printed:\n%s", w.Args, w.ProcessState, code, text)
	}
	w.leavesNothing()
	return text
}

// leavesNothing fails the test if a process of the window is left after a second.
func (w *window) leavesNothing() {
	w.t.Helper()
	proctest.Gone(w.t, w.mark, proctest.Survival)
}

// interrupt does what Ctrl-C does: everybody in the window's process group gets SIGINT.
func (w *window) interrupt() {
	w.t.Helper()
	if err := syscall.Kill(-w.Process.Pid, syscall.SIGINT); err != nil {
		w.t.Fatal(err)
	}
}
