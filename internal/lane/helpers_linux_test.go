package lane_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/lane"
	"github.com/bullpen-go/bullpen/internal/leaktest"
)

const patience = 20 * time.Second // no wait takes longer

// roleVar names what a second process of this binary is to do. Its connection is descriptor 3, its memory 4.
const roleVar = "LANE_TEST_ROLE"

var roles = map[string]func(rw io.ReadWriter, sock *rawBell) error{
	"echo":   func(rw io.ReadWriter, _ *rawBell) error { return echo(rw) },
	"stream": func(rw io.ReadWriter, _ *rawBell) error { return stream(rw) },
	"serve":  func(rw io.ReadWriter, _ *rawBell) error { return serve(rw) },
	"gush":   func(rw io.ReadWriter, _ *rawBell) error { return gush(rw) },
	"deaf":   func(_ io.ReadWriter, sock *rawBell) error { return deaf(sock) },
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVar); role != "" {
		if err := play(role); err != nil && !errors.Is(err, io.EOF) {
			os.Stderr.WriteString(role + ": " + err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(leaktest.Main(m))
}

// play is what a second process does. Without a memory it uses the socket.
func play(role string) error {
	runtime.GOMAXPROCS(1)
	sock := &rawBell{fd: 3}
	if os.Getenv("LANE_TEST_MEMORY") == "" {
		return roles[role](sock, sock)
	}
	m, err := lane.Open(4)
	if err != nil {
		return err
	}
	unix.Close(4)
	return roles[role](lane.NewWorker(m, sock), sock)
}

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
	return lane.NewApp(m, a, now), lane.NewWorker(w, b), a, b
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
		p.end = lane.NewApp(p.mem, p.bell, now)
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

// echo sends each message back. A message is its length in four bytes, and that many bytes. Large ones get memory of their
// own, like in package wire.
func echo(rw io.ReadWriter) error {
	var small [4 << 10]byte
	for {
		got, err := receive(rw, small[:])
		if err != nil {
			return err
		}
		if _, err := rw.Write(got); err != nil {
			return err
		}
	}
}

// receive returns the next message with its length. It is in buf, or in new memory if it doesn't fit.
func receive(r io.Reader, buf []byte) ([]byte, error) {
	n, err := io.ReadAtLeast(r, buf, 4)
	if err != nil {
		return nil, err
	}
	size := 4 + int(binary.LittleEndian.Uint32(buf))
	if size > len(buf) {
		buf = append(make([]byte, 0, size), buf[:n]...)
	}
	if n < size {
		_, err = io.ReadFull(r, buf[n:size])
	}
	return buf[:size], err
}

// message returns one of n bytes and its length.
func message(n int) []byte {
	m := make([]byte, 4+n)
	binary.LittleEndian.PutUint32(m, uint32(n))
	for i := range m[4:] {
		m[4+i] = byte(i)
	}
	return m
}

// serve is echo with a handler that takes as many ns as the message says first.
func serve(rw io.ReadWriter) error {
	var small [4 << 10]byte
	for {
		got, err := receive(rw, small[:])
		if err != nil {
			return err
		}
		if d := time.Duration(binary.LittleEndian.Uint32(got[4:])); d > 0 {
			for begin := time.Now(); time.Since(begin) < d; {
			}
		}
		if _, err := rw.Write(got); err != nil {
			return err
		}
	}
}

const streamed = 2 << 20

// stream sends a stream of random bytes in pieces of random sizes and checks the one that it gets, both at once.
func stream(rw io.ReadWriter) error { return exchange(rw, 2, 1) }

func exchange(rw io.ReadWriter, sends, gets uint64) error {
	sent := make(chan error, 1)
	go func() { sent <- send(rw, sends) }()
	err := check(rw, gets)
	return errors.Join(err, <-sent)
}

func send(w io.Writer, seed uint64) error {
	bytes, sizes := rand.NewChaCha8([32]byte{byte(seed)}), rand.New(rand.NewPCG(seed, 1))
	for left := streamed; left > 0; {
		p := make([]byte, min(left, 1+sizes.IntN(1<<sizes.IntN(20))))
		bytes.Read(p)
		n, err := w.Write(p)
		for again(err) {
			p = p[n:]
			left -= n
			n, err = w.Write(p)
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		left -= n
	}
	return nil
}

func check(r io.Reader, seed uint64) error {
	want, sizes := rand.NewChaCha8([32]byte{byte(seed)}), rand.New(rand.NewPCG(seed, 2))
	for left := streamed; left > 0; {
		p := make([]byte, min(left, 1+sizes.IntN(1<<sizes.IntN(20))))
		n, err := r.Read(p)
		if again(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		left -= n
		w := make([]byte, n)
		want.Read(w)
		if !bytes.Equal(p[:n], w) {
			return fmt.Errorf("%d bytes before the end of the stream there are others than were written", left)
		}
	}
	return nil
}

// again says that a read or write was interrupted, and is to go on.
func again(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// gush writes for as long as it can.
func gush(rw io.ReadWriter) error {
	p := make([]byte, 100)
	for {
		if _, err := rw.Write(p); err != nil {
			return err
		}
	}
}

// deaf reads the bell, but not the lane.
func deaf(sock *rawBell) error {
	for {
		if err := sock.Wait(); err != nil {
			return err
		}
	}
}
