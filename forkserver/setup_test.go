//go:build linux

package forkserver_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func TestSetupDataIsTyped(t *testing.T) {
	t.Parallel()
	want := setupData{Mode: "none of those", When: time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.UTC)}
	tr := start(t, hooked, forkserver.Config{SetupData: want})
	p := newPool(t, tr, poolConfig)
	got := must(hookedData.Call(proctest.Limited(t), p))(t)
	if got.Mode != want.Mode || !got.When.Equal(want.When) {
		t.Errorf("%+v instead of %+v", got, want)
	}
	var remote *wire.RemoteError
	if v, err := wrongData.Call(proctest.Limited(t), p); !errors.As(err, &remote) {
		t.Errorf("as another type: %v, %v", v, err)
	}
}

func TestLargeSetupData(t *testing.T) {
	t.Parallel()
	mode := strings.Repeat("x", 8<<20)
	tr := start(t, hooked, forkserver.Config{SetupData: setupData{Mode: mode}, Limits: server.Limits{Standby: 1}})
	p := newPool(t, tr, poolConfig)
	for range 2 {
		if got := must(hookedData.Call(proctest.Limited(t), checkout(t, p)))(t); got.Mode != mode {
			t.Errorf("%d bytes", len(got.Mode))
		}
	}
}

func TestSetupDataThatNobodyGave(t *testing.T) {
	t.Parallel()
	tr := start(t, hooked, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	_, err := hookedPid.Call(proctest.Limited(t), p)
	var setup *wire.SetupError
	if !errors.As(err, &setup) || !strings.Contains(setup.Message, "none was given") {
		t.Errorf("%v", err)
	}
}

func TestSetupDataOutsideAWorker(t *testing.T) {
	t.Parallel()
	if _, err := server.SetupData[int](t.Context()); err == nil {
		t.Error("no error")
	}
}

func TestSetupContextLivesAsLongAsTheWorker(t *testing.T) {
	t.Parallel()
	tr := start(t, hooked, forkserver.Config{SetupData: setupData{}})
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	for range 3 {
		if got := must(contextErr.Call(proctest.Limited(t), co))(t); got != "<nil>" {
			t.Errorf("it has ended: %s", got)
		}
	}
}

// However Setup fails: the first who waits is told why at once, and the worker has ended.
func TestSetupFails(t *testing.T) {
	t.Parallel()
	const limit = 200 * time.Millisecond * slowdown
	// Where no goroutine runs, the server ends the worker a little later. On a busy machine it may be the first anyway.
	late := []string{fmt.Sprintf("SetupTimeout (%v)", limit), fmt.Sprintf("not set up after %v", limit*5/4)}
	for _, test := range []struct {
		mode, typ string
		timeout   time.Duration
		says      []string // one of these
	}{
		{"fail", "*errors.errorString", 0, []string{"no luck"}},
		{"panic", wire.TypePanic, 0, []string{"setup panics"}},
		{"block", "", limit, late},
		{"raw", "", limit, late[1:]},
	} {
		for _, standby := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s, %d standbys", test.mode, standby), func(t *testing.T) {
				t.Parallel()
				says := func(text string) bool {
					return slices.ContainsFunc(test.says, func(s string) bool { return strings.Contains(text, s) })
				}
				tr := start(t, hooked, forkserver.Config{SetupData: setupData{Mode: test.mode},
					Limits: server.Limits{SetupTimeout: test.timeout, Standby: standby}})
				p := newPool(t, tr, poolConfig)
				begin := time.Now()
				_, err := hookedPid.Call(proctest.Limited(t), p)
				var setup *wire.SetupError
				if !errors.As(err, &setup) || !says(setup.Message) {
					t.Fatalf("%v", err)
				}
				if test.typ != "" && (setup.Type != test.typ || setup.Service != "hooked") {
					t.Errorf("%+v", setup)
				}
				if test.mode == "panic" && !strings.Contains(setup.Stack, "hooked_test.go") {
					t.Errorf("the stack is %q", setup.Stack)
				}
				if took := time.Since(begin); took > soon {
					t.Errorf("it took %v", took)
				}
				e := tr.events.Wait(t, "a worker's end", func(e server.Event) bool { return e.Type == server.WorkerEnded })
				if e.Exit == nil || e.Exit.Reason != wire.ExitSetup || !says(e.Exit.Detail) {
					t.Errorf("the event: %+v", e.Exit)
				}
			})
		}
	}
}

// A worker that exits in Setup has not failed it: it has died, and how is told.
func TestWorkerEndsInSetup(t *testing.T) {
	t.Parallel()
	tr := start(t, hooked, forkserver.Config{SetupData: setupData{Mode: "exit"}})
	p := newPool(t, tr, poolConfig)
	_, err := hookedPid.Call(proctest.Limited(t), p)
	if err == nil || !strings.Contains(err.Error(), "exit code 6") || !strings.Contains(err.Error(), "setup exits") {
		t.Errorf("%v", err)
	}
}

// A standby whose Setup fails is tried again, less and less often.
func TestFailingStandbysDoNotSpin(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pids")
	tr := start(t, hooked, forkserver.Config{SetupData: setupData{Mode: "fail", File: file}, Limits: server.Limits{Standby: 2}})
	ended := func() (n int) {
		for _, e := range tr.events.List() {
			if e.Type == server.WorkerEnded {
				n++
			}
		}
		return n
	}
	begin := time.Now()
	tr.events.Wait(t, "eight failures", func(server.Event) bool { return ended() >= 8 })
	if took := time.Since(begin); took < 300*time.Millisecond {
		t.Errorf("8 tries in %v", took)
	}
	tr.Close() // does not wait for the next try, nor lets it begin
	closed(t, "Done", tr.Done())
	tries := ended()
	if text, _ := os.ReadFile(file); strings.Count(string(text), "\n") < 8 {
		t.Errorf("Setup has run in %q", text)
	}
	if n := ended(); n != tries {
		t.Errorf("after Close: %d workers more", n-tries)
	}
}

func TestLoggerOfAHook(t *testing.T) {
	t.Parallel()
	tr := start(t, hooked, forkserver.Config{SetupData: setupData{Mode: "log"}})
	p := newPool(t, tr, poolConfig)
	must(hookedPid.Call(proctest.Limited(t), p))(t)
	r := tr.logs.Wait(t, "the hook's record", func(r record) bool { return strings.Contains(r.msg, "from the hook") })
	if r.level < hclog.Info || r.args["worker"] != "1" {
		t.Errorf("%+v", r)
	}
}

// A worker without a hook is ready as soon as it runs, and is never over SetupTimeout.
func TestStandbyWithoutSetupIsNotHung(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 1, SetupTimeout: time.Second}})
	ready := tr.events.Wait(t, "the standby", func(e server.Event) bool { return e.Type == server.WorkerReady })
	hung := start(t, hooked, forkserver.Config{SetupData: setupData{Mode: "raw"}, // what takes longer than it may
		Limits: server.Limits{SetupTimeout: 1100 * time.Millisecond}})
	hookedPid.Call(proctest.Limited(t), newPool(t, hung, poolConfig))
	if !proctest.Alive(ready.Pid) {
		t.Error("the standby was ended")
	}
	kill(ready.Pid, syscall.SIGKILL)
}
