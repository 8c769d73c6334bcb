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
	p, err := forkserver.Start(limited(t), commands, forkserver.Config{SetupData: c, Limits: limits})
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
	ctx := limited(t)
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

// A call whose command says something else than a reply ends with an error that quotes it, and its worker is retired.
func TestCommandThatBreaksTheProtocol(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ says, quoted string }{
		"rubbish":              {`echo 'Traceback (most recent call last):'`, `Traceback (most recent call last):`},
		"a prompt":             {`printf 'login: '`, `"login:"`},
		"half a line":          {`echo '["ok",{},[1,'`, `[\"ok\",{},[1,`},
		"another message":      {`echo '["do",{},"x"]'`, `[\"do\",{},\"x\"]`},
		"two replies":          {`printf '["ok",{},1]\n["ok",{},2]\n'`, `[\"ok\",{},2]`},
		"two replies, a line":  {`echo '["ok",{},1]["ok",{},2]'`, `[\"ok\",{},1][\"ok\",{},2]`},
		"two announcements":    {`echo '["up",{}]'; echo '["up",{}]'`, `[\"up\",{}]`},
		"JSON, but no message": {`echo '[7]'`, `[7]`},
		"bad UTF-8":            {`printf '["ok",{},"\377"]\n'`, `[\"ok\",{},\"` + "\uFFFD"},
		"a key twice":          {`echo '["ok",{},{"a":1,"a":2}]'`, `{\"a\":1,\"a\":2}`},
		"a long line":          {`head -c 3000000 /dev/zero | tr '\0' '['; echo`, `[[[[[`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothKinds(t, func(t *testing.T, kind wire.Kind) {
				p := startCommand(t, script(`read x; `+test.says+`; cat >/dev/null`), server.Limits{MaxMessage: 1 << 20},
					pool.Config{Wire: kind, ReuseAfterError: true})
				for range 2 {
					co, err := p.Checkout(limited(t))
					if err != nil {
						t.Fatal(err)
					}
					_, err = commandEcho.Call(limited(t), co, "x")
					var remote *wire.RemoteError
					if !errors.As(err, &remote) || remote.Code != server.CodeBadReply || !strings.Contains(remote.Message, test.quoted) {
						t.Errorf("%T: %v", err, err)
					}
					if len(err.Error()) > 1000 {
						t.Errorf("the error has %d bytes", len(err.Error()))
					}
					_, err = commandEcho.Call(limited(t), co, "x")
					var died *pool.WorkerDiedError
					if !errors.As(err, &died) {
						t.Errorf("on the same worker: %T: %v", err, err)
					}
					co.Release()
				}
			})
		})
	}
}

// What a command says while nobody has asked it ends its worker too, and is told.
func TestCommandThatSpeaksUnasked(t *testing.T) {
	t.Parallel()
	gate := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	p := startCommand(t, script(`read x; echo '["ok",{},1]'; read x <`+gate+`; echo '["ok",{},"surplus"]'; cat >/dev/null`),
		server.Limits{}, pool.Config{})
	co, err := p.Checkout(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	defer co.Release()
	if _, err := commandEcho.Call(limited(t), co, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(gate, []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	var died *pool.WorkerDiedError
	eventually(t, "the worker is ended", func() bool { return p.Stat().Total == 0 })
	_, err = commandEcho.Call(limited(t), co, 1)
	if !errors.As(err, &died) || died.Exit.Reason != wire.ExitRetired || !strings.Contains(died.Error(), `[\"ok\",{},\"surplus\"]", which nobody has asked for`) {
		t.Errorf("%T: %v", err, err)
	}
}

// The end of a command is the end of its worker, as it was: with exit code or signal, and with its stderr.
func TestCommandThatEnds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		does, detail string
		code, signal int
		reason       wire.ExitReason
	}{
		"exit code":       {`echo last words >&2; exit 7`, "", 7, 0, wire.ExitExited},
		"exit code 0":     {`echo last words >&2; exit 0`, "", 0, 0, wire.ExitExited},
		"a signal":        {`echo last words >&2; kill -SEGV $$`, "", -1, 11, wire.ExitCrashed},
		"killed":          {`echo last words >&2; kill -KILL $$`, "", -1, 9, wire.ExitKilled},
		"in a line":       {`echo last words >&2; printf '["ok",{'; exit 3`, `it said "[\"ok\",{" and no more`, 3, 0, wire.ExitExited},
		"stdout closed":   {`echo last words >&2; exec >&-; exec sleep 1000`, "it closed its standard output", -1, 9, wire.ExitKilled},
		"a child is left": {`echo last words >&2; sleep 1000 & exit 5`, "", 5, 0, wire.ExitExited},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startCommand(t, script(`read x; `+test.does), server.Limits{}, pool.Config{})
			_, err := commandEcho.Call(limited(t), p, "x")
			var died *pool.WorkerDiedError
			if !errors.As(err, &died) {
				t.Fatalf("%T: %v", err, err)
			}
			e := died.Exit
			if e.Code != test.code || e.Signal != test.signal || e.Reason != test.reason || e.Detail != test.detail || e.Stderr() != "last words\n" {
				t.Errorf("%+v, stderr %q", e, e.Stderr())
			}
		})
	}
}

// A command that answers and ends has answered.
func TestCommandForOneCall(t *testing.T) {
	t.Parallel()
	bothKinds(t, func(t *testing.T, kind wire.Kind) {
		p := startCommand(t, script(`read x; echo '["ok",{},"done"]'`), server.Limits{}, pool.Config{Wire: kind, MaxCheckouts: 1})
		for range 20 {
			if got, err := commandEcho.Call(limited(t), p, 1); err != nil || got != "done" {
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
	short, cancel := context.WithTimeout(limited(t), 300*time.Millisecond)
	defer cancel()
	_, err := commandEcho.Call(short, p, 1)
	var timeout *pool.TimeoutError
	if !errors.As(err, &timeout) || timeout.Ran != 0 {
		t.Errorf("before the setup: %T: %v", err, err)
	}
	if err := os.WriteFile(gate, []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := commandEcho.Call(limited(t), p, 1); err != nil {
		t.Error(err)
	}
}

func TestCommandWhoseSetupFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ does, message string }{
		"an error":    {`echo '["er",{"err":{"code":"NODB"}},"the database is gone"]'; cat >/dev/null`, "the database is gone"},
		"rubbish":     {`echo 'Starting...'; cat >/dev/null`, `it said "Starting..." instead of ["up",{}]`},
		"a reply":     {`echo '["ok",{},1]'; cat >/dev/null`, `it said "[\"ok\",{},1]" instead of ["up",{}]`},
		"not in time": {`cat >/dev/null`, "SetupTimeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := script(test.does)
			c.Announces = true
			p := startCommand(t, c, server.Limits{SetupTimeout: 500 * time.Millisecond}, pool.Config{})
			_, err := commandEcho.Call(limited(t), p, 1)
			var setup *wire.SetupError
			if !errors.As(err, &setup) || !strings.Contains(setup.Message, test.message) {
				t.Errorf("%T: %v", err, err)
			}
			if name == "an error" && setup != nil && setup.Code != "NODB" {
				t.Errorf("%+v", setup)
			}
		})
	}
	t.Run("its end", func(t *testing.T) {
		t.Parallel()
		c := script(`echo no module >&2; exit 4`)
		c.Announces = true
		_, err := commandEcho.Call(limited(t), startCommand(t, c, server.Limits{}, pool.Config{}), 1)
		var died *pool.WorkerDiedError
		if !errors.As(err, &died) || died.Exit.Code != 4 || died.Exit.Stderr() != "no module\n" {
			t.Errorf("%T: %v", err, err)
		}
	})
	t.Run("no such program", func(t *testing.T) {
		t.Parallel()
		_, err := commandEcho.Call(limited(t), startCommand(t, server.Command{Args: []string{"no-such-program"}}, server.Limits{}, pool.Config{}), 1)
		var setup *wire.SetupError
		if !errors.As(err, &setup) || !strings.Contains(setup.Message, "no-such-program") {
			t.Errorf("%T: %v", err, err)
		}
	})
	t.Run("no command", func(t *testing.T) {
		t.Parallel()
		_, err := commandEcho.Call(limited(t), startCommand(t, server.Command{}, server.Limits{}, pool.Config{}), 1)
		var setup *wire.SetupError
		if !errors.As(err, &setup) || !strings.Contains(setup.Message, "server.Command.Args") {
			t.Errorf("%T: %v", err, err)
		}
	})
}

// A command is killed with its children: when it hangs, when its call times out, and when it doesn't heed a cancellation.
func TestCommandIsKilled(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limits server.Limits
		config pool.Config
		check  func(error) bool
	}{
		"hung": {server.Limits{HungTimeout: 300 * time.Millisecond}, pool.Config{}, func(err error) bool {
			var died *pool.WorkerDiedError
			return errors.As(err, &died) && died.Exit.Reason == wire.ExitHung
		}},
		"timeout": {server.Limits{}, pool.Config{Timeout: 300 * time.Millisecond}, func(err error) bool {
			var timeout *pool.TimeoutError
			return errors.As(err, &timeout) && timeout.Ran > 0
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pid")
			p := startCommand(t, script(`read x; sleep 1000 & echo $! >`+file+`; wait; wait`), test.limits, test.config)
			_, err := commandEcho.Call(limited(t), p, 1)
			if !test.check(err) {
				t.Errorf("%T: %v", err, err)
			}
			child, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the command's child ends", func() bool {
				_, err := os.Stat("/proc/" + strings.TrimSpace(string(child)))
				return err != nil
			})
		})
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
			co, err := p.Checkout(limited(t))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := commandEcho.Call(limited(t), co, i); err != nil {
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
		eventually(t, "all has been said", func() bool { got, _ = os.ReadFile(log); return string(got) == want })
	})
}

// On the JSON wire a worker whose setup failed lives on, and its next call tries again, as with AnyEvent::Task.
func TestCommandIsSetUpAgain(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	if err := os.WriteFile(missing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := script(`[ -e ` + missing + ` ] && echo '["er",{},"it is missing"]' && exec cat >/dev/null
echo '["up",{}]'; while read x; do echo '["ok",{},1]'; done`)
	c.Announces = true
	p := startCommand(t, c, server.Limits{}, pool.Config{Wire: wire.JSON})
	co, err := p.Checkout(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	defer co.Release()
	for range 2 {
		_, err := commandEcho.Call(limited(t), co, 1)
		var setup *wire.SetupError
		if !errors.As(err, &setup) || setup.Message != "it is missing" {
			t.Errorf("%T: %v", err, err)
		}
	}
	os.Remove(missing)
	for range 2 {
		if _, err := commandEcho.Call(limited(t), co, 1); err != nil {
			t.Error(err)
		}
	}
}

// A worker's memory limit is its command's.
func TestCommandHasTheMemoryLimit(t *testing.T) {
	t.Parallel()
	p := startCommand(t, script(`read x; printf '["ok",{},%s]\n' "$(ulimit -d)"`), server.Limits{MaxMemory: 512 << 20}, pool.Config{})
	got, err := commandEcho.Call(limited(t), p, 1)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(512<<10) { // sh counts KiB
		t.Error(got, err)
	}
}

// What a command logs in a reply's meta arrives in the caller's logger, and Call.Meta at the command.
func TestCommandsMeta(t *testing.T) {
	t.Parallel()
	bothKinds(t, func(t *testing.T, kind wire.Kind) {
		seen := lines{newFeed[string]()}
		logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
		logger.RegisterSink(seen)
		p := startCommand(t, script(`while read x; do case $x in
*'"trace":"4bf9"'*) echo '["er",{"ld":{"start":1795447042.5,"logs":[[0.5,20,"careful",{"k":"v"}]],"timers":[["t",0,1]]},"err":{"code":"NO"}},"no"]' ;;
*do*) echo '["ok",{},"no trace"]' ;;
esac; done`), server.Limits{}, pool.Config{Wire: kind, Logger: logger})
		if got, err := commandEcho.Call(limited(t), p, 1); err != nil || got != "no trace" {
			t.Error(got, err)
		}
		_, err := commandEcho.Call(limited(t), p.With(pool.CheckoutConfig{Meta: map[string]string{"trace": "4bf9"}}), 1)
		var remote *wire.RemoteError
		if !errors.As(err, &remote) || remote.Message != "no" || remote.Code != "NO" {
			t.Errorf("%T: %v", err, err)
		}
		at := time.Unix(1795447043, 0).Format(time.DateTime)
		if rest := seen.says(t, "careful "); !strings.Contains(rest, "k v") || !strings.Contains(rest, at) {
			t.Errorf("it was logged with %s, at %v", rest, at)
		}
		if rest := seen.says(t, "timer "); !strings.Contains(rest, "took 1s") {
			t.Errorf("the timer: %s", rest)
		}
	})
}
