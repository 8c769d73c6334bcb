package server_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/server"
)

// Of many that find a stale socket at the same time one gets the address, and answers on it.
func TestManyReplaceAStaleSocketAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "socket")
	for range 20 {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Close(fd))
		}
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		won := make(chan net.Listener, 8)
		for range cap(won) {
			all.Go(func() {
				if l, err := server.Listen(basic, "unix", path); err == nil {
					won <- l
				}
			})
		}
		all.Wait()
		if len(won) != 1 {
			t.Fatalf("%d have it", len(won))
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		(<-won).Close()
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 0 {
		t.Errorf("left in the directory: %v", entries)
	}
}

// A path may be as long as the system allows, and clients see it as it is.
func TestLongPath(t *testing.T) {
	t.Parallel()
	const limit = 107
	dir, err := os.MkdirTemp("", "bp")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	dir = filepath.Join(dir, strings.Repeat("d", limit-len(dir)-3)) // and "/s" with it makes the limit
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	listen(t, path)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.RemoteAddr().String(); got != path {
		t.Errorf("the client sees %q", got)
	}
	if l, err := server.Listen(basic, "unix", path+"o"); err == nil || !strings.Contains(err.Error(), "has 108 bytes") ||
		!strings.Contains(err.Error(), "is 107") {
		t.Errorf("%v, %v", l, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left in the directory: %v", entries)
	}
}

// The lock of a process that has died is in nobody's way.
func TestLockOfADeadServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".socket.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	listen(t, filepath.Join(dir, "socket"))
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left in the directory: %v", entries)
	}
}
