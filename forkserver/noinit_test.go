//go:build linux

package forkserver_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
)

// runProgram runs a program of testdata and returns what it prints.
func runProgram(t *testing.T, name string, env ...string) (stdout, mark string, code int) {
	t.Helper()
	mark = proctest.NewMark()
	cmd := exec.CommandContext(proctest.Limited(t), program(t, name))
	cmd.Env = append(append(os.Environ(), envMark+"="+mark), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), mark, cmd.ProcessState.ExitCode()
}

func TestStartWithoutInit(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "socket")
	for _, env := range []string{"NOHOOK=start", "NOHOOK=serve"} { // Start, and ListenAndServe
		out, mark, code := runProgram(t, "nohook", env, "SOCKET="+socket)
		proctest.Gone(t, mark, survival)
		if code != 0 {
			t.Errorf("%s: exit code %d", env, code)
		}
		for _, want := range []string{"error: bullpen: ", "forkserver.Init()", "first line of main", "TestMain", "children: false"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q does not say %q", env, out, want)
			}
		}
		if n := strings.Count(out, "\n"); n != 2 {
			t.Errorf("%s: %d lines instead of an error and a count: %q", env, n, out)
		}
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket file: %v", err)
	}
}

func TestInitFromAnInitFunction(t *testing.T) {
	t.Parallel()
	for _, env := range []string{"INITFROMHOOK=once", "INITFROMHOOK=twice"} {
		out, mark, code := runProgram(t, "initfromhook", env)
		proctest.Gone(t, mark, survival)
		if code != 0 || !strings.Contains(out, "init function") || !strings.Contains(out, "first line of main") {
			t.Errorf("%s: exit code %d, %q", env, code, out)
		}
	}
}

// A helper binary without Init is found out by the child itself.
func TestPathOfAProgramWithoutInit(t *testing.T) {
	t.Parallel()
	path := program(t, "nohook")
	begin := time.Now()
	_, err := tryStart(t, context.Background(), basic, forkserver.Config{Path: path})
	if err == nil || !strings.Contains(err.Error(), "forkserver.Init()") || !strings.Contains(err.Error(), `"basic"`) {
		t.Errorf("%v", err)
	}
	if took := time.Since(begin); took > soon {
		t.Errorf("it took %v", took)
	}
}

func TestPathOfAProgramWithInitInAnInitFunction(t *testing.T) {
	t.Parallel()
	_, err := tryStart(t, context.Background(), basic, forkserver.Config{Path: program(t, "initfromhook")})
	if err == nil || !strings.Contains(err.Error(), "init function") {
		t.Errorf("%v", err)
	}
}

// A program that neither calls Init nor Start works on as the server, until it is ended.
func TestPathOfAProgramThatNeverAnswers(t *testing.T) {
	t.Parallel()
	path := program(t, "nohook")
	begin := time.Now()
	_, err := tryStart(t, context.Background(), basic, forkserver.Config{Path: path, Env: append(os.Environ(), "NOHOOK=work"),
		StartTimeout: 300 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "StartTimeout") {
		t.Errorf("%v", err)
	}
	if took := time.Since(begin); took < 300*time.Millisecond || took > soon {
		t.Errorf("it took %v", took)
	}
}

func init() {
	apps["starting"] = func() { // an app that waits for the answer of such a program
		_, err := forkserver.Start(context.Background(), basic, forkserver.Config{Path: os.Getenv("PROGRAM"), StartTimeout: -1})
		panic(err)
	}
}

// Nothing watches the keepalive pipe in a program without Init, so the kernel must.
func TestAppDiesWhileAProgramWithoutInitRuns(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"running", "stopped", "not Go"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			path := script(t, "exec sleep 1000")
			if how != "not Go" {
				path = program(t, "nohook")
			}
			a := proctest.StartApp(t, "starting", "PROGRAM="+path, "NOHOOK=work")
			var child int
			proctest.Eventually(t, "the child runs", func() bool {
				for _, p := range proctest.InTree(a.Mark) {
					if p.Pid != a.Process.Pid && p.Title != proctest.Title(a.Process.Pid) {
						child = p.Pid
					}
				}
				return child != 0
			})
			if how == "stopped" {
				stop(t, child)
			}
			a.Process.Kill()
			proctest.Gone(t, a.Mark, survival)
		})
	}
}
