//go:build linux

package server_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/server"
)

func TestAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"unix:/run/x.sock":    {"unix", "/run/x.sock"},
		"unix:x.sock":         {"unix", "x.sock"},
		"/run/x.sock":         {"unix", "/run/x.sock"},
		"./x.sock":            {"unix", "./x.sock"},
		"/odd:name":           {"unix", "/odd:name"},
		"tcp:127.0.0.1:7000":  {"tcp", "127.0.0.1:7000"},
		"127.0.0.1:7000":      {"tcp", "127.0.0.1:7000"},
		"localhost:7000":      {"tcp", "localhost:7000"},
		"[::1]:7000":          {"tcp", "[::1]:7000"},
		"tcp:[::1]:7000":      {"tcp", "[::1]:7000"},
		":7000":               {"tcp", ":7000"},
		"unix:/with/tcp:name": {"unix", "/with/tcp:name"},
	} {
		if network, address, err := server.Address(in); err != nil || network != want[0] || address != want[1] {
			t.Errorf("%q: %s, %s, %v", in, network, address, err)
		}
	}
	for _, in := range []string{"", "unix:", "tcp:"} {
		if network, address, err := server.Address(in); err == nil {
			t.Errorf("%q: %s, %s", in, network, address)
		}
	}
}

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := server.Listen(basic, "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestSocketFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	os.Chmod(dir, 0o777)
	path := filepath.Join(dir, "socket")
	l := listen(t, path)
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Mode()&os.ModeSocket == 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left in the directory: %v", entries)
	}
	if got := l.Addr(); got.Network() != "unix" || got.String() != path {
		t.Errorf("its address is %s", got)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "socket")
	old, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false)
	old.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	proctest.Eventually(t, "nobody answers", func() bool { // a process that another test just starts has the old one for a moment
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	listen(t, path)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestLiveSocketIsNotReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "socket")
	listen(t, path)
	if _, err := server.Listen(basic, "unix", path); err == nil || !strings.Contains(err.Error(), "another server answers") {
		t.Errorf("%v", err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the first doesn't answer any more: %v", err)
	} else {
		c.Close()
	}
}

// A server that is too busy to answer is not a stale one.
func TestSocketWithAFullBacklogIsNotReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "socket")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for {
		c, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		defer c.Close()
	}
	if _, err := server.Listen(basic, "unix", path); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("%v", err)
	}
}

// A listener that is closed late, or twice, leaves alone what somebody else has put in its place.
func TestCloseLeavesAnothersSocketAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "socket")
	first := listen(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := listen(t, path)
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("after the first was closed: %v", err)
	}
	second.Close()
	third := listen(t, path) // may have the second's inode
	second.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("after the second was closed twice: %v", err)
	}
	third.Close()
}

func TestRelativePathSurvivesChdir(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	l := listen(t, "socket")
	t.Chdir(t.TempDir())
	l.Close()
	if _, err := os.Lstat(filepath.Join(dir, "socket")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestListenersThatAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ network, address, says string }{
		{"unix", "@abstract", "abstract"},
		{"unix", file, "not a socket"},
		{"unix", dir, "not a socket"},
		{"unix", filepath.Join(dir, "none", "socket"), "no such file"},
		{"tcp", "0.0.0.0:0", "loopback"},
		{"tcp", ":0", "loopback"},
		{"tcp4", "192.0.2.1:80", "loopback"},
		{"udp", "127.0.0.1:0", "neither unix nor tcp"},
		{"unixgram", file, "neither unix nor tcp"},
		{"tcp", "nonsense", "missing port"},
	} {
		l, err := server.Listen(basic, test.network, test.address)
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), test.address) {
			t.Errorf("%s %s: %v", test.network, test.address, err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left in the directory: %v", entries)
	}
}

func TestLoopbackAddresses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "127.1.2.3:0", "localhost:0"} {
		l, err := server.Listen(basic, "tcp", address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		l.Close()
	}
}

// At each moment at most one of many that start at once has the address, and a client can always connect.
func TestManyListenAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "socket")
	first := listen(t, path)
	defer first.Close()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if l, err := server.Listen(basic, "unix", path); err == nil {
				l.Close()
				t.Error("a second listener")
			}
		})
	}
	all.Wait()
}
