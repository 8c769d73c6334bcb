//go:build linux

package forkserver_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// app is the test binary in one of apps' modes, in a process group and a session of its own.
type app struct {
	*exec.Cmd
	mark  string
	lines *feed[string] // of its standard output
	ended chan struct{}
}

func startApp(t *testing.T, mode string, env ...string) *app {
	t.Helper()
	a := newApp("/proc/self/exe", mode, env...)
	a.start(t)
	return a
}

func newApp(path, mode string, env ...string) *app {
	a := &app{Cmd: exec.Command(path), mark: newMark(), lines: newFeed[string](), ended: make(chan struct{})}
	a.Env = append(append(os.Environ(), envApp+"="+mode, envMark+"="+a.mark), env...)
	a.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	a.Stderr = os.Stderr
	return a
}

func (a *app) start(t *testing.T) {
	t.Helper()
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	a.Stdout = w
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		defer close(a.ended)
		defer out.Close()
		for r := bufio.NewReader(out); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				a.Wait()
				return
			}
			a.lines.add(strings.TrimSuffix(line, "\n"))
		}
	}()
	t.Cleanup(func() {
		a.Process.Kill()
		<-a.ended
		gone(t, a.mark, survival)
	})
}

// says waits for a line with that beginning, and returns the rest of it.
func (a *app) says(t *testing.T, begin string) string {
	t.Helper()
	line := a.lines.wait(t, begin, func(s string) bool { return strings.HasPrefix(s, begin) })
	return strings.TrimSpace(line[len(begin):])
}

// pid waits for a line with that beginning, and returns the process id in its rest.
func (a *app) pid(t *testing.T, begin string) int {
	t.Helper()
	pid, err := strconv.Atoi(a.says(t, begin))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

var (
	programsOnce sync.Once
	programsDir  string
	programsErr  error
)

// program builds the programs of ../testdata that these tests run, once, and returns the path of one.
func program(t *testing.T, name string) string {
	t.Helper()
	programsOnce.Do(func() {
		if programsDir, programsErr = os.MkdirTemp("", "bullpen-test"); programsErr != nil {
			return
		}
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", programsDir+"/", "../testdata/nohook",
			"../testdata/initfromhook", "../testdata/otherservice")
		if out, err := cmd.CombinedOutput(); err != nil {
			programsErr = fmt.Errorf("%w: %s", err, out)
		}
	})
	if programsErr != nil {
		t.Fatal(programsErr)
	}
	return filepath.Join(programsDir, name)
}
