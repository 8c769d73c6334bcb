//go:build linux

package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// commands is a service whose command each test chooses.
var commands = server.NewCommand("commands", server.Command{})

var (
	commandEcho = wire.NewMethod[any, any]("echo")
	commandFail = wire.NewMethod[string, wire.None]("fail")
	commandPid  = wire.NewMethod0[int]("pid")
)

// startCommand starts a server of the command, and a pool on it.
func startCommand(t *testing.T, c server.Command, limits server.Limits, pc pool.Config) *pool.Pool {
	t.Helper()
	p, err := forkserver.Start(proctest.Limited(t), commands, forkserver.Config{SetupData: c, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if pc.MaxWorkers == 0 {
		pc.MaxWorkers = 1
	}
	return newPool(t, p, pc)
}

// script is a command that is written in shell.
func script(text string) server.Command { return server.Command{Args: []string{"sh", "-c", text}} }

// need skips the test where a program is missing.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed: %v", program, err)
	}
}

// bothKinds runs f for a pool of each wire.
func bothKinds(t *testing.T, f func(t *testing.T, kind wire.Kind)) {
	for _, kind := range []wire.Kind{wire.Binary, wire.JSON} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			f(t, kind)
		})
	}
}

// Workers in other languages do what our own do.
func TestCommandsInOtherLanguages(t *testing.T) {
	t.Parallel()
	for file, interpreter := range map[string]string{"worker.py": "python3", "worker.js": "node", "worker.pl": "perl", "worker.sh": "sh"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			need(t, interpreter)
			path := filepath.Join("..", "testdata", "workers", file)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), "\n"); n > 20 {
				t.Errorf("%d lines are no short example", n)
			}
			bothKinds(t, func(t *testing.T, kind wire.Kind) {
				speaksLikeOurs(t, startCommand(t, server.Command{Args: []string{interpreter, path}, Announces: true},
					server.Limits{Standby: 1}, pool.Config{Wire: kind, ReuseAfterError: true}))
			})
		})
	}
}

func speaksLikeOurs(t *testing.T, p *pool.Pool) {
	ctx := proctest.Limited(t)
	co, err := p.Checkout(ctx)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := commandPid.Call(ctx, co)
	if err != nil || pid == os.Getpid() {
		t.Fatal(pid, err)
	}
	for _, text := range []string{`null`, `true`, `-7`, `1.5`, `"tab\t\"q\" \\ / λ 𝇚"`, `[]`, `{"a":[1,{"b":null}],"λ":"x"}`} {
		var want any
		json.Unmarshal([]byte(text), &want)
		got, err := commandEcho.Call(ctx, co, want)
		again, _ := json.Marshal(got)
		var back any
		json.Unmarshal(again, &back)
		if err != nil || !reflect.DeepEqual(back, want) {
			t.Errorf("%s came back as %s, %v", text, again, err)
		}
	}
	_, err = commandFail.Call(ctx, co, "it's no good")
	var remote *wire.RemoteError
	if !errors.As(err, &remote) || !strings.Contains(remote.Message, "it's no good") {
		t.Errorf("%T: %v", err, err)
	}
	_, err = wire.NewMethod0[any]("no such thing").Call(ctx, co)
	if !errors.As(err, &remote) {
		t.Errorf("%T: %v", err, err)
	}
	co.Release()
	if next, err := commandPid.Call(ctx, p); err != nil || next != pid {
		t.Errorf("after the release: process %d instead of %d, %v", next, pid, err)
	}
}

// A command that answers and ends has answered.
func TestCommandForOneCall(t *testing.T) {
	t.Parallel()
	bothKinds(t, func(t *testing.T, kind wire.Kind) {
		p := startCommand(t, script(`read x; echo '["ok",{},"done"]'`), server.Limits{}, pool.Config{Wire: kind, MaxCheckouts: 1})
		for range 20 {
			if got, err := commandEcho.Call(proctest.Limited(t), p, 1); err != nil || got != "done" {
				t.Fatal(got, err)
			}
		}
	})
}

// A command is set up when it says so.
func TestCommandAnnouncesItsSetup(t *testing.T) {
	t.Parallel()
	gate := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	c := script(`read x <` + gate + `; echo '["up",{}]'; read x; echo '["ok",{},1]'; cat >/dev/null`)
	c.Announces = true
	p := startCommand(t, c, server.Limits{}, pool.Config{})
	short, cancel := context.WithTimeout(proctest.Limited(t), 300*time.Millisecond)
	defer cancel()
	_, err := commandEcho.Call(short, p, 1)
	var timeout *pool.TimeoutError
	if !errors.As(err, &timeout) || timeout.Ran != 0 {
		t.Errorf("before the setup: %T: %v", err, err)
	}
	if err := os.WriteFile(gate, []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := commandEcho.Call(proctest.Limited(t), p, 1); err != nil {
		t.Error(err)
	}
}

// Each release of a checkout is told to the command.
func TestCommandHearsOfReleases(t *testing.T) {
	t.Parallel()
	bothKinds(t, func(t *testing.T, kind wire.Kind) {
		log := filepath.Join(t.TempDir(), "said")
		p := startCommand(t, script(`while read -r line; do echo "$line" >>`+log+`; case $line in *do*) echo '["ok",{},null]';; esac; done`),
			server.Limits{}, pool.Config{Wire: kind})
		for i := range 3 {
			co, err := p.Checkout(proctest.Limited(t))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := commandEcho.Call(proctest.Limited(t), co, i); err != nil {
					t.Fatal(err)
				}
			}
			co.Release()
		}
		want := ""
		for i := range 3 {
			want += strings.Repeat(fmt.Sprintf("[\"do\",{},\"echo\",%d]\n", i), 2) + "[\"dn\",{}]\n"
		}
		var got []byte
		proctest.Eventually(t, "all has been said", func() bool { got, _ = os.ReadFile(log); return string(got) == want })
	})
}

// A worker's memory limit is its command's.
func TestCommandHasTheMemoryLimit(t *testing.T) {
	t.Parallel()
	p := startCommand(t, script(`read x; printf '["ok",{},%s]\n' "$(ulimit -d)"`), server.Limits{MaxMemory: 512 << 20}, pool.Config{})
	got, err := commandEcho.Call(proctest.Limited(t), p, 1)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(512<<10) { // sh counts KiB
		t.Error(got, err)
	}
}

// What a command logs in a reply's meta arrives in the caller's logger, and Call.Meta at the command.
func TestCommandsMeta(t *testing.T) {
	t.Parallel()
	bothKinds(t, func(t *testing.T, kind wire.Kind) {
		seen := lines{proctest.NewLines()}
		logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
		logger.RegisterSink(seen)
		p := startCommand(t, script(`while read x; do case $x in
*'"trace":"4bf9"'*) echo '["er",{"ld":{"start":1795447042.5,"logs":[[0.5,20,"careful",{"k":"v"}]],"timers":[["t",0,1]]},"err":{"code":"NO"}},"no"]' ;;
*do*) echo '["ok",{},"no trace"]' ;;
esac; done`), server.Limits{}, pool.Config{Wire: kind, Logger: logger})
		if got, err := commandEcho.Call(proctest.Limited(t), p, 1); err != nil || got != "no trace" {
			t.Error(got, err)
		}
		_, err := commandEcho.Call(proctest.Limited(t), p.With(pool.CheckoutConfig{Meta: map[string]string{"trace": "4bf9"}}), 1)
		var remote *wire.RemoteError
		if !errors.As(err, &remote) || remote.Message != "no" || remote.Code != "NO" {
			t.Errorf("%T: %v", err, err)
		}
		at := time.Unix(1795447043, 0).Format(time.DateTime)
		if rest := seen.Says(t, "careful "); !strings.Contains(rest, "k v") || !strings.Contains(rest, at) {
			t.Errorf("it was logged with %s, at %v", rest, at)
		}
		if rest := seen.Says(t, "timer "); !strings.Contains(rest, "took 1s") {
			t.Errorf("the timer: %s", rest)
		}
	})
}
