//go:build linux || darwin

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
)

var binary string // the command, built by TestMain

// testApps are what the test binary can be instead of a test.
var testApps = map[string]func(){}

const testAppEnv = "BULLPEN_TEST_APP"

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
	mark string // in the environment of all its processes
	end  chan error

	mu    sync.Mutex // guards all below
	lines []string
	more  chan struct{} // closed when there is another line
}

// open runs the command with the arguments.
func open(t *testing.T, args ...string) *window {
	t.Helper()
	w := &window{Cmd: exec.Command(binary, args...), t: t, end: make(chan error, 1), more: make(chan struct{})}
	w.mark = fmt.Sprintf("BULLPEN_TEST_WINDOW=%d-%d", os.Getpid(), time.Now().UnixNano())
	w.Env = append(os.Environ(), w.mark)
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

// leavesNothing fails the test if a process of the window is left after a second. What a busy machine keeps from this
// process is not part of it.
func (w *window) leavesNothing() {
	w.t.Helper()
	if runtime.GOOS != "linux" {
		return
	}
	var left []string
	for range 100 {
		if left = marked(w.mark); len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Errorf("%v left processes behind: %q", w.Args, left)
}

// marked returns the processes that have the mark in their environment.
func marked(mark string) (found []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		if env, err := os.ReadFile(f); err == nil && bytes.Contains(env, []byte(mark)) {
			title, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "cmdline"))
			found = append(found, filepath.Base(filepath.Dir(f))+" "+string(title))
		}
	}
	return found
}

// interrupt does what Ctrl-C does: everybody in the window's process group gets SIGINT.
func (w *window) interrupt() {
	w.t.Helper()
	if err := syscall.Kill(-w.Process.Pid, syscall.SIGINT); err != nil {
		w.t.Fatal(err)
	}
}
