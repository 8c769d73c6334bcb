//go:build linux

package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

func init() {
	apps["few files"] = func() { // a server that has no descriptors between two lines of its input
		l, err := server.Listen(basic, "unix", os.Getenv("SOCKET"))
		if err != nil {
			panic(err)
		}
		logger := hclog.New(&hclog.LoggerOptions{Output: os.Stdout, DisableTime: true})
		s := &server.Server{Service: basic, Logger: logger}
		go s.Serve(l)
		var before, used unix.Rlimit
		unix.Getrlimit(unix.RLIMIT_NOFILE, &before)
		in := bufio.NewScanner(os.Stdin)
		in.Scan()
		used = unix.Rlimit{Cur: 1, Max: before.Max}
		unix.Setrlimit(unix.RLIMIT_NOFILE, &used)
		fmt.Println("limited")
		in.Scan()
		unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
		fmt.Println("unlimited")
		in.Scan()
		s.Close()
	}
}

// cpuTicks returns how many hundredths of a second of processor time a process has used.
func cpuTicks(t *testing.T, pid int) (ticks int) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	var user, system int
	fmt.Sscan(strings.Join(strings.Fields(rest)[11:13], " "), &user, &system)
	return user + system
}

// A server that runs out of descriptors says so, waits without spinning, and goes on when there are some.
func TestServerRunsOutOfDescriptors(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "socket")
	var in io.Writer
	program := startApp(t, "few files", func(c *exec.Cmd) {
		c.Env = append(c.Env, "SOCKET="+socket)
		pipe, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pipe.Close() })
		in = pipe
	})
	p := newPool(t, pool.Unix(socket), pool.Config{})
	if _, err := getpid.Call(limited(t), p); err != nil {
		t.Fatal(err)
	}
	accepted := dial(t, "unix", socket)
	// Connections are accepted in order: a later one that is served shows that this one was.
	if _, err := getpid.Call(limited(t), newPool(t, pool.Unix(socket), pool.Config{})); err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "\n")
	program.lines.says(t, "limited")
	accepted.Write([]byte("\n")) // wants a worker
	isClosed(t, accepted)
	waits, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer waits.Close()
	failures := func() (n int) {
		for _, line := range program.lines.list() {
			if strings.Contains(line, "accepting a connection failed") {
				n++
			}
		}
		return n
	}
	eventually(t, "a few failures", func() bool { return failures() > 3 })
	ticks, begin := cpuTicks(t, program.Process.Pid), time.Now()
	eventually(t, "some more", func() bool { return failures() > 6 })
	if used := cpuTicks(t, program.Process.Pid) - ticks; used > 5 {
		t.Errorf("%d0 ms of processor time in %v", used, time.Since(begin))
	}
	if got, err := echo.Call(limited(t), p, "a worker lives on"); err != nil {
		t.Errorf("%q, %v", got, err)
	}
	io.WriteString(in, "\n")
	program.lines.says(t, "unlimited")
	begin = time.Now()
	if _, err := getpid.Call(limited(t), newPool(t, pool.Unix(socket), pool.Config{})); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 2*time.Second*4 {
		t.Errorf("it goes on after %v", took)
	}
}
