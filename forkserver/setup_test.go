//go:build linux

package forkserver_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func TestSetupDataIsTyped(t *testing.T) {
	t.Parallel()
	want := setupData{Mode: "none of those", When: time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.UTC)}
	tr := start(t, hooked, forkserver.Config{SetupData: want})
	p := newPool(t, tr, poolConfig)
	got := must(hookedData.Call(limited(t), p))(t)
	if got.Mode != want.Mode || !got.When.Equal(want.When) {
		t.Errorf("%+v instead of %+v", got, want)
	}
	var remote *wire.RemoteError
	if v, err := wrongData.Call(limited(t), p); !errors.As(err, &remote) {
		t.Errorf("as another type: %v, %v", v, err)
	}
}

func TestLargeSetupData(t *testing.T) {
	t.Parallel()
	mode := strings.Repeat("x", 8<<20)
	tr := start(t, hooked, forkserver.Config{SetupData: setupData{Mode: mode}, Limits: server.Limits{Standby: 1}})
	p := newPool(t, tr, poolConfig)
	for range 2 {
		if got := must(hookedData.Call(limited(t), checkout(t, p)))(t); got.Mode != mode {
			t.Errorf("%d bytes", len(got.Mode))
		}
	}
}

func TestSetupDataThatNobodyGave(t *testing.T) {
	t.Parallel()
	tr := start(t, hooked, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	_, err := hookedPid.Call(limited(t), p)
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
		if got := must(contextErr.Call(limited(t), co))(t); got != "<nil>" {
			t.Errorf("it has ended: %s", got)
		}
	}
}

// However Setup fails: the first who waits is told why at once, and the worker has ended.
func TestSetupFails(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mode, says, typ string
		standby         int
	}{
		{"fail", "no luck", "*errors.errorString", 0},
		{"fail", "no luck", "*errors.errorString", 1},
		{"panic", "setup panics", wire.TypePanic, 0},
		{"block", "SetupTimeout (200ms)", "", 0}, // in a select
		{"raw", "250ms", "", 0},                  // where no goroutine runs: the server ends it
	} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			tr := start(t, hooked, forkserver.Config{SetupData: setupData{Mode: test.mode},
				Limits: server.Limits{SetupTimeout: 200 * time.Millisecond * slowdown, Standby: test.standby}})
			p := newPool(t, tr, poolConfig)
			begin := time.Now()
			_, err := hookedPid.Call(limited(t), p)
			var setup *wire.SetupError
			says := test.says
			if slowdown > 1 {
				says = strings.NewReplacer("200ms", "800ms", "250ms", "1s").Replace(says)
			}
			if !errors.As(err, &setup) || !strings.Contains(setup.Message, says) {
				t.Fatalf("%v", err)
			}
			if test.typ != "" && (setup.Type != test.typ || setup.Service != "hooked") {
				t.Errorf("%+v", setup)
			}
			if test.mode == "panic" && !strings.Contains(setup.Stack, "hooked_test.go") {
				t.Errorf("the stack is %q", setup.Stack)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			e := tr.events.wait(t, "a worker's end", func(e server.Event) bool { return e.Type == server.WorkerEnded })
			if e.Exit == nil || e.Exit.Reason != wire.ExitSetup || !strings.Contains(e.Exit.Detail, says) {
				t.Errorf("the event: %+v", e.Exit)
			}
		})
	}
}

// A worker that exits in Setup has not failed it: it has died, and how is told.
func TestWorkerEndsInSetup(t *testing.T) {
	t.Parallel()
	tr := start(t, hooked, forkserver.Config{SetupData: setupData{Mode: "exit"}})
	p := newPool(t, tr, poolConfig)
	_, err := hookedPid.Call(limited(t), p)
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
		for _, e := range tr.events.list() {
			if e.Type == server.WorkerEnded {
				n++
			}
		}
		return n
	}
	begin := time.Now()
	tr.events.wait(t, "eight failures", func(server.Event) bool { return ended() >= 8 })
	if took := time.Since(begin); took < 300*time.Millisecond {
		t.Errorf("8 tries in %v", took)
	}
	begin = time.Now()
	tr.Close() // does not wait for the next try
	if took := time.Since(begin); took > 500*time.Millisecond*slowdown {
		t.Errorf("Close took %v", took)
	}
	if text, _ := os.ReadFile(file); strings.Count(string(text), "\n") < 8 {
		t.Errorf("Setup has run in %q", text)
	}
}

func TestLoggerOfAHook(t *testing.T) {
	t.Parallel()
	tr := start(t, hooked, forkserver.Config{SetupData: setupData{Mode: "log"}})
	p := newPool(t, tr, poolConfig)
	must(hookedPid.Call(limited(t), p))(t)
	r := tr.logs.wait(t, "the hook's record", func(r record) bool { return strings.Contains(r.msg, "from the hook") })
	if r.level < hclog.Info || r.args["worker"] != "1" {
		t.Errorf("%+v", r)
	}
}

// A worker without a hook is ready as soon as it runs, and is never over SetupTimeout.
func TestStandbyWithoutSetupIsNotHung(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 1, SetupTimeout: 300 * time.Millisecond * slowdown}})
	ready := tr.events.wait(t, "the standby", func(e server.Event) bool { return e.Type == server.WorkerReady })
	hung := start(t, hooked, forkserver.Config{SetupData: setupData{Mode: "raw"}, // what takes longer than it may
		Limits: server.Limits{SetupTimeout: 400 * time.Millisecond * slowdown}})
	hookedPid.Call(limited(t), newPool(t, hung, poolConfig))
	if !alive(ready.Pid) {
		t.Error("the standby was ended")
	}
	kill(ready.Pid, syscall.SIGKILL)
}
