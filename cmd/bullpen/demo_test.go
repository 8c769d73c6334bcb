//go:build linux || darwin

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// shown is what the demo's app prints. Its groups are pids: app, server, and of the workers: hash's, the held one
// (three times), the crashed one (three times), the next hash's.
var shown = regexp.MustCompile(`app +(\d+) .*
server +(\d+) .*
worker +(\d+)  hash\("secret"\) = \$2a\$10\$.{53}
worker +(\d+)  verify\(hash, "secret"\) = true; .*
worker +(\d+)  crash.* \*pool.WorkerDiedError:
 +bullpen: worker (\d+) .* died under "crash": .*
 +pid: (\d+); exit code: 2; signal: 0; first line of stderr: panic: assignment to entry in nil map
worker +(\d+)  verify\(hash, "wrong"\) = false; .*
worker +(\d+)  hash\("secret"\) = \$2a\$10\$.{53}; the pool goes on$`)

// checkShown checks what the demo's app has printed, and returns the pids in it.
func checkShown(t *testing.T, text string) (app, server int) {
	t.Helper()
	m := shown.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("the demo printed:\n%s\nwant a match of:\n%s", text, shown)
	}
	var pids []int
	for _, s := range m[1:] {
		pid, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	app, server = pids[0], pids[1]
	first, held, crashed, last := pids[2], pids[3], pids[4], pids[8]
	if pids[5] != crashed || pids[6] != crashed {
		t.Errorf("the error's pids differ:\n%s", text)
	}
	if pids[7] != held {
		t.Errorf("the held worker's pid has changed:\n%s", text)
	}
	for _, worker := range []int{first, held, crashed, last} {
		if worker == app || worker == server || app == server {
			t.Errorf("app, server and workers are not different processes:\n%s", text)
		}
	}
	if crashed == held || crashed == last {
		t.Errorf("the worker that crashed works on:\n%s", text)
	}
	return app, server
}

func TestDemo(t *testing.T) {
	w := open(t, "demo")
	app, _ := checkShown(t, w.ends(0))
	if app != w.Process.Pid {
		t.Errorf("the app's pid is %d, the demo shows %d", w.Process.Pid, app)
	}
}

func TestDemoInTwoWindows(t *testing.T) {
	for _, name := range []string{"server first", "client first", "loopback"} {
		t.Run(name, func(t *testing.T) {
			where := "--address=" + filepath.Join(t.TempDir(), "demo.sock")
			switch name {
			case "client first": // by the default address too
				t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
				where = "--address="
			case "loopback":
				where = "--address=127.0.0.1:0"
			}
			var client *window
			if name == "client first" {
				client = open(t, "demo", "--client", where)
				client.wait("start it with: bullpen demo --server")
			}
			srv := open(t, "demo", "--server", where)
			srv.wait("listens on ")
			text, _ := srv.text()
			address := regexp.MustCompile(`listens on (.*);`).FindStringSubmatch(text)[1]
			if client == nil {
				client = open(t, "demo", "--client", "--address", address)
			}
			app, server := checkShown(t, client.ends(0))
			if app != client.Process.Pid || server != srv.Process.Pid {
				t.Errorf("client and server are %d and %d, the demo shows %d and %d", client.Process.Pid, srv.Process.Pid, app, server)
			}
			srv.wait("ended with exit code 2")
			srv.interrupt()
			srv.ends(0)
			if _, err := os.Lstat(address); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the server has left its socket: %v", err)
			}
		})
	}
}

// An app that is killed takes its server and workers with it.
func TestDemoKilled(t *testing.T) {
	w := open(t, "demo")
	w.wait("hash(") // all are there now
	w.Process.Kill()
	w.ends(-1)
}

// A server that is killed leaves its socket's file. The next one takes the address over.
func TestDemoServerKilled(t *testing.T) {
	address := filepath.Join(t.TempDir(), "demo.sock")
	first := open(t, "demo", "--server", "--address", address)
	first.wait("listens on ")
	open(t, "demo", "--client", "--address", address).ends(0)
	first.Process.Kill()
	first.ends(-1)

	second := open(t, "demo", "--server", "--address", address)
	second.wait("listens on ")
	open(t, "demo", "--client", "--address", address).ends(0)
	second.interrupt()
	second.ends(0)
}

func TestDemoInterruptedWhileItWaits(t *testing.T) {
	client := open(t, "demo", "--client", "--address", filepath.Join(t.TempDir(), "nobody.sock"))
	client.wait("start it with: bullpen demo --server")
	client.interrupt()
	if text := client.ends(1); !strings.Contains(text, "canceled") {
		t.Errorf("it printed:\n%s", text)
	}
}

func TestDemoRefuses(t *testing.T) {
	taken := filepath.Join(t.TempDir(), "demo.sock")
	srv := open(t, "demo", "--server", "--address", taken)
	srv.wait("listens on ")
	for want, args := range map[string][]string{
		"another server answers": {"--server", "--address", taken},
		"only loopback":          {"--server", "--address", "0.0.0.0:0"},
		"no address":             {"--client", "--address", "unix:"},
		"[client server]":        {"--client", "--server"},
		"--address goes with":    {"--address", taken},
		"unknown command":        {"more"},
	} {
		text := open(t, slices.Concat([]string{"demo"}, args)...).ends(1)
		if !strings.Contains(text, want) {
			t.Errorf("demo %q printed %q, want %q in it", args, text, want)
		}
	}
	srv.interrupt()
	srv.ends(0)
}

func TestDefaultAddressIsPrivate(t *testing.T) {
	base := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", base)
	address, err := defaultAddress("demo")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(address)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("its directory: %v, %v", info.Mode(), err)
	}
	if again, err := defaultAddress("demo"); again != address || err != nil {
		t.Errorf("the second time: %q, %v", again, err)
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	if got, err := defaultAddress("demo"); err == nil {
		t.Errorf("a directory that others can write to was taken: %q", got)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), dir); err != nil {
		t.Fatal(err)
	}
	if got, err := defaultAddress("demo"); err == nil {
		t.Errorf("a symbolic link was taken: %q", got)
	}
}
