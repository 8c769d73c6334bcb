//go:build linux

package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// A call whose command says something else than a reply ends with an error that quotes it, and its worker is retired.
func TestCommandThatBreaksTheProtocol(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ says, quoted string }{
		"rubbish":              {`echo 'Traceback (most recent call last):'`, `Traceback (most recent call last):`},
		"a prompt":             {`printf 'login: '`, `"login:"`},
		"half a line":          {`echo '["ok",{},[1,'`, `[\"ok\",{},[1,`},
		"and then silence":     {`printf '["ok",{},[1,'`, `[\"ok\",{},[1,": no message: the line stopped in the middle`},
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
					co, err := p.Checkout(proctest.Limited(t))
					if err != nil {
						t.Fatal(err)
					}
					_, err = commandEcho.Call(proctest.Limited(t), co, "x")
					var remote *wire.RemoteError
					if !errors.As(err, &remote) || remote.Code != server.CodeBadReply || !strings.Contains(remote.Message, test.quoted) {
						t.Errorf("%T: %v", err, err)
					}
					if len(err.Error()) > 1000 {
						t.Errorf("the error has %d bytes", len(err.Error()))
					}
					_, err = commandEcho.Call(proctest.Limited(t), co, "x")
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

// A line may come in pieces, and what comes later has as much time as if it had not.
func TestCommandThatPausesInALine(t *testing.T) {
	t.Parallel()
	gate := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	p := startCommand(t, script(`read x; printf '["ok",'; read x <`+gate+`; printf '{},1'; echo ']'
read x; sleep 6; echo '["ok",{},2]'; cat >/dev/null`), server.Limits{}, pool.Config{})
	co, err := p.Checkout(proctest.Limited(t))
	if err != nil {
		t.Fatal(err)
	}
	defer co.Release()
	first := commandEcho.Go(proctest.Limited(t), co, "x")
	if err := os.WriteFile(gate, []byte("\n"), 0); err != nil { // once the command has opened it, after the first piece
		t.Fatal(err)
	}
	if got, err := first.Wait(); err != nil || got != int64(1) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := commandEcho.Call(proctest.Limited(t), co, "x"); err != nil || got != int64(2) {
		t.Errorf("%v, %v", got, err)
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
	co, err := p.Checkout(proctest.Limited(t))
	if err != nil {
		t.Fatal(err)
	}
	defer co.Release()
	if _, err := commandEcho.Call(proctest.Limited(t), co, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(gate, []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	var died *pool.WorkerDiedError
	proctest.Eventually(t, "the worker is ended", func() bool { return p.Stat().Total == 0 })
	_, err = commandEcho.Call(proctest.Limited(t), co, 1)
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
			_, err := commandEcho.Call(proctest.Limited(t), p, "x")
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
			_, err := commandEcho.Call(proctest.Limited(t), p, 1)
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
		_, err := commandEcho.Call(proctest.Limited(t), startCommand(t, c, server.Limits{}, pool.Config{}), 1)
		var died *pool.WorkerDiedError
		if !errors.As(err, &died) || died.Exit.Code != 4 || died.Exit.Stderr() != "no module\n" {
			t.Errorf("%T: %v", err, err)
		}
	})
	t.Run("no such program", func(t *testing.T) {
		t.Parallel()
		_, err := commandEcho.Call(proctest.Limited(t), startCommand(t, server.Command{Args: []string{"no-such-program"}}, server.Limits{}, pool.Config{}), 1)
		var setup *wire.SetupError
		if !errors.As(err, &setup) || !strings.Contains(setup.Message, "no-such-program") {
			t.Errorf("%T: %v", err, err)
		}
	})
	t.Run("no command", func(t *testing.T) {
		t.Parallel()
		_, err := commandEcho.Call(proctest.Limited(t), startCommand(t, server.Command{}, server.Limits{}, pool.Config{}), 1)
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
			_, err := commandEcho.Call(proctest.Limited(t), p, 1)
			if !test.check(err) {
				t.Errorf("%T: %v", err, err)
			}
			child, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			proctest.Eventually(t, "the command's child ends", func() bool {
				_, err := os.Stat("/proc/" + strings.TrimSpace(string(child)))
				return err != nil
			})
		})
	}
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
	co, err := p.Checkout(proctest.Limited(t))
	if err != nil {
		t.Fatal(err)
	}
	defer co.Release()
	for range 2 {
		_, err := commandEcho.Call(proctest.Limited(t), co, 1)
		var setup *wire.SetupError
		if !errors.As(err, &setup) || setup.Message != "it is missing" {
			t.Errorf("%T: %v", err, err)
		}
	}
	os.Remove(missing)
	for range 2 {
		if _, err := commandEcho.Call(proctest.Limited(t), co, 1); err != nil {
			t.Error(err)
		}
	}
}
