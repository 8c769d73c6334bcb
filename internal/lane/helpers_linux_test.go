package lane_test

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/lane"
)

const patience = 20 * time.Second // no wait takes longer

// rawBell is a blocking socket outside of Go's poller, as a worker has it.
type rawBell struct {
	fd  int
	buf [64]byte
}

func (b *rawBell) Ring() error {
	_, err := unix.SendmsgN(b.fd, []byte{0}, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if err == unix.EAGAIN {
		return nil
	}
	return err
}

func (b *rawBell) Wait() error {
	_, err := b.Read(b.buf[:])
	return err
}

func (b *rawBell) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(b.fd, p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (b *rawBell) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n, err := unix.Write(b.fd, p[done:])
		if err != nil && err != unix.EINTR {
			return done, err
		}
		done += max(n, 0)
	}
	return len(p), nil
}

// netBell is a socket in Go's poller, as an app has it.
type netBell struct {
	*net.UnixConn
	buf [64]byte
}

func (b *netBell) Ring() error {
	raw, err := b.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Control(func(fd uintptr) {
		_, serr = unix.SendmsgN(int(fd), []byte{0}, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	})
	if err == nil && serr != unix.EAGAIN {
		err = serr
	}
	return err
}

func (b *netBell) Wait() error {
	_, err := b.Read(b.buf[:])
	return err
}

// bells returns two connected bells.
func bells(t testing.TB) (a, b *netBell) {
	t.Helper()
	fa, fb := pair(t)
	return adopt(t, fa), adopt(t, fb)
}

func pair(t testing.TB) (a, b *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket")
}

func adopt(t testing.TB, f *os.File) *netBell {
	t.Helper()
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &netBell{UnixConn: c.(*net.UnixConn)}
}

// create makes a memory that is gone after the test.
func create(t testing.TB, ring int) *lane.Memory {
	t.Helper()
	m, err := lane.Create(ring)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func open(t testing.TB, fd int) *lane.Memory {
	t.Helper()
	m, err := lane.Open(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

var started = time.Now()

func now() int64 { return int64(time.Since(started)) }

// ends returns both ends in this process, each with a mapping of its own.
func ends(t testing.TB, ring int) (app, worker *lane.End, a, b *netBell) {
	t.Helper()
	a, b = bells(t)
	m := create(t, ring)
	w := open(t, int(m.File().Fd()))
	m.CloseFile()
	return lane.NewApp(m, a, now, network(t)), lane.NewWorker(w, b), a, b
}

// network returns a Network for one end, which leaves it with the test.
func network(t testing.TB) *lane.Network {
	n := new(lane.Network)
	n.Enter()
	t.Cleanup(n.Leave)
	return n
}

// process is a second process of this binary that plays a role.
type process struct {
	*exec.Cmd
	bell *netBell
	end  *lane.End
	mem  *lane.Memory
}

// start starts a process with a lane, or without one if ring is 0. It ends with the test, and then has to have ended well
// unless it was killed.
func start(t testing.TB, role string, ring int) *process {
	t.Helper()
	own, its := pair(t)
	p := &process{Cmd: exec.Command(os.Args[0]), bell: adopt(t, own)}
	p.Env = append(os.Environ(), roleVar+"="+role)
	p.Stderr = os.Stderr
	p.ExtraFiles = []*os.File{its}
	if ring > 0 {
		p.mem = create(t, ring)
		p.end = lane.NewApp(p.mem, p.bell, now, network(t))
		p.ExtraFiles = append(p.ExtraFiles, p.mem.File())
		p.Env = append(p.Env, "LANE_TEST_MEMORY="+strconv.Itoa(ring))
	}
	err := p.Start()
	its.Close()
	if err != nil {
		t.Fatal(err)
	}
	if ring > 0 {
		p.mem.CloseFile()
	}
	t.Cleanup(func() {
		p.bell.Close()
		p.wait(t)
	})
	return p
}

// wait waits for the process to end, once.
func (p *process) wait(t testing.TB) {
	t.Helper()
	if p.ProcessState != nil {
		return
	}
	if err := p.Wait(); err != nil && !killed(err) {
		t.Errorf("the other process: %v", err)
	}
}

func killed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}

// rw returns the way to the process.
func (p *process) rw() io.ReadWriter {
	if p.end != nil {
		return p.end
	}
	return p.bell
}
