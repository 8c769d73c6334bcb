//go:build linux

package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// noted is a service of one of several servers. Its method makes a file, and returns the process id of its server.
var noted = server.NewService("noted", server.Hooks{})

var note = server.Handle(noted, "note", func(_ context.Context, path string) (int, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	return os.Getppid(), f.Close()
})

const envListen = "BULLPEN_SERVER_TEST_LISTEN"

func init() {
	apps["noted"] = func() {
		l, err := server.Listen(noted, "tcp", os.Getenv(envListen))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("address", l.Addr())
		(&server.Server{Service: noted}).Serve(l)
	}
}

// startNoted starts a server program on an address.
func startNoted(t *testing.T, address string) (*proctest.App, string) {
	t.Helper()
	a := proctest.StartApp(t, "noted", envListen+"="+address)
	return a, a.Lines.Says(t, "address ")
}

// TestSpreadOverTwoAddresses kills one of two servers under load. That costs the calls that it was running, and no other;
// when it is back it is used again.
func TestSpreadOverTwoAddresses(t *testing.T) {
	t.Parallel()
	one, address1 := startNoted(t, "127.0.0.1:0")
	two, address2 := startNoted(t, "127.0.0.2:0")
	const callers = 8
	// Workers are replaced now and then, or a server that is back would get none.
	p := newPool(t, pool.Spread(pool.TCP(address1, nil), pool.TCP(address2, nil)),
		pool.Config{MinWorkers: callers, MaxWorkers: callers, MaxCheckouts: 200})
	proctest.Eventually(t, "all workers are connected", func() bool { return p.Stat().Idle == callers })

	dir := t.TempDir()
	l := &load{pool: p, dir: dir, by: map[int]int{}}
	l.start(callers)
	t.Cleanup(l.stop)
	proctest.Eventually(t, "both servers answer", func() bool { n := l.answers(); return n[one.Process.Pid] > 100 && n[two.Process.Pid] > 100 })
	if n := l.failures(); len(n) > 0 {
		t.Fatalf("before anything happened: %v", n)
	}

	two.Process.Signal(syscall.SIGKILL)
	<-two.Ended
	begin := l.answers()[one.Process.Pid]
	proctest.Eventually(t, "the other one goes on", func() bool { return l.answers()[one.Process.Pid] > begin+1000 })
	failed := l.failures()
	if len(failed) > callers/2 {
		t.Errorf("%d calls failed, and %d workers were lost: %v", len(failed), callers/2, failed)
	}
	for path, err := range failed {
		var died *pool.WorkerDiedError
		if !errors.As(err, &died) {
			t.Errorf("%s: %T: %v", filepath.Base(path), err, err)
		}
	}

	back, _ := startNoted(t, address2)
	proctest.Eventually(t, "the server that is back is used", func() bool { return l.answers()[back.Process.Pid] > 100 })
	l.stop()
	if n := l.failures(); len(n) != len(failed) {
		t.Errorf("calls failed later: %v", n)
	}
	if l.doubled.Load() > 0 {
		t.Error("a call ran twice")
	}
}

// load calls note all the time.
type load struct {
	pool    *pool.Pool
	dir     string
	quit    atomic.Bool
	next    atomic.Int64
	doubled atomic.Int64
	callers sync.WaitGroup

	mu     sync.Mutex // guards all below
	by     map[int]int
	failed map[string]error
}

func (l *load) start(callers int) {
	l.failed = map[string]error{}
	for range callers {
		l.callers.Go(func() {
			for !l.quit.Load() {
				l.call()
			}
		})
	}
}

func (l *load) call() {
	path := filepath.Join(l.dir, fmt.Sprint(l.next.Add(1)))
	server, err := note.Call(context.Background(), l.pool, path)
	var remote *wire.RemoteError
	if errors.As(err, &remote) && strings.Contains(remote.Message, "file exists") {
		l.doubled.Add(1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed[path] = err
		return
	}
	l.by[server]++
}

// answers returns how many calls each server's workers have answered.
func (l *load) answers() map[int]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := map[int]int{}
	for pid, k := range l.by {
		n[pid] = k
	}
	return n
}

func (l *load) failures() map[string]error {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := map[string]error{}
	for path, err := range l.failed {
		n[path] = err
	}
	return n
}

func (l *load) stop() {
	l.quit.Store(true)
	l.callers.Wait()
}

// TestSpreadAroundASilentAddress has an address that neither answers nor refuses. It doesn't use up a call's time.
func TestSpreadAroundASilentAddress(t *testing.T) {
	t.Parallel()
	silent := silentAddress(t)
	_, address := startNoted(t, "127.0.0.1:0")
	p := newPool(t, pool.Spread(pool.TCP(silent, nil), pool.TCP(address, nil)), pool.Config{MaxWorkers: 2, Timeout: 8 * time.Second})
	dir := t.TempDir()
	for i := range 10 {
		co, err := p.Checkout(proctest.Limited(t)) // two at once, so that there is a second connection
		if err != nil {
			t.Fatal(err)
		}
		if _, err := note.Call(proctest.Limited(t), p, filepath.Join(dir, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		co.Release()
	}
	if n := p.Stat().Failures; n > 0 {
		t.Errorf("connecting failed %d times", n)
	}
}

// silentAddress returns an address whose backlog is full, so that nobody answers a client that connects.
func silentAddress(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	for {
		c, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
}
