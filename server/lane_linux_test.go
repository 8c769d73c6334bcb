package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/lane"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// offering is a client that speaks to a worker by hand, and may send descriptors.
type offering struct {
	*testing.T
	nc   *net.UnixConn
	c    *wire.Conn
	pid  int
	with []byte // goes out with the next message
}

// Write implements io.Writer for c.
func (o *offering) Write(p []byte) (int, error) {
	n, _, err := o.nc.WriteMsgUnix(p, o.with, nil)
	o.with = nil
	return n, err
}

// Read implements io.Reader for c.
func (o *offering) Read(p []byte) (int, error) { return o.nc.Read(p) }

// offer connects to a worker of s, whose address is given, and has exchanged hellos.
func offer(t *testing.T, address string, layout uint8) *offering {
	t.Helper()
	o := &offering{T: t, nc: dial(t, "unix", address).(*net.UnixConn)}
	o.c = wire.NewClientConn(o, wire.Binary, 0)
	o.say(wire.Message{Type: wire.TypeHello, Hello: &wire.Hello{Version: wire.Version, Lane: layout}})
	h := o.hears(wire.TypeHello, 0).Hello
	want := uint8(0)
	if layout == wire.LaneLayout {
		want = layout
	}
	if h.Lane != want {
		t.Fatalf("the worker answers layout %d with %d", layout, h.Lane)
	}
	o.pid = h.Pid
	return o
}

func (o *offering) say(m wire.Message) {
	o.Helper()
	if err := o.c.Write(&m); err != nil {
		o.Fatal(err)
	}
}

func (o *offering) hears(want wire.Type, id uint32) (m wire.Message) {
	o.Helper()
	if err := o.c.Read(&m); err != nil || m.Type != want || m.ID != id {
		o.Fatalf("%v %d (%v) instead of %v %d", m.Type, m.ID, err, want, id)
	}
	return m
}

// lane sends the message lane with descriptors.
func (o *offering) lane(fds ...int) {
	o.Helper()
	if len(fds) > 0 {
		o.with = unix.UnixRights(fds...)
	}
	o.say(wire.Message{Type: wire.TypeLane})
}

// works makes a call, by whatever way the bytes go.
func (o *offering) works(id uint32) {
	o.Helper()
	o.say(wire.Message{Type: wire.TypeDo, ID: id, Method: "getpid"})
	var pid int
	m := o.hears(wire.TypeOK, id)
	if err := m.Decode(&pid); err != nil || pid != o.pid {
		o.Errorf("worker %d instead of %d, %v", pid, o.pid, err)
	}
}

// isViolation waits for the end of the connection.
func (o *offering) isViolation() {
	o.Helper()
	if n, err := io.Copy(io.Discard, o.nc); n > 0 || err != nil && !errors.Is(err, unix.ECONNRESET) {
		o.Errorf("the worker says %d bytes, and then %v", n, err)
	}
}

// files counts the worker's descriptors of what a test sends: of files and pipes. Sockets and the like come and go while a
// worker settles in.
func (o *offering) files() (n int) {
	o.Helper()
	dir := fmt.Sprintf("/proc/%d/fd/", o.pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		o.Fatal(err)
	}
	for _, e := range list {
		to, err := os.Readlink(dir + e.Name())
		if err == nil && !strings.HasPrefix(to, "socket:") && !strings.HasPrefix(to, "anon_inode:") {
			n++
		}
	}
	return n
}

// mapped reports whether the worker has mapped a lane.
func (o *offering) mapped() bool {
	maps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", o.pid))
	return strings.Contains(string(maps), "bullpen-lane")
}

// memory makes a lane, and returns its file's number.
func (o *offering) memory() (*lane.Memory, int) {
	o.Helper()
	m, err := lane.Create(lane.MinRing)
	if err != nil {
		o.Fatal(err)
	}
	o.Cleanup(func() { m.Close() })
	return m, int(m.File().Fd())
}

// bad returns descriptors that are no lane.
func bad(t *testing.T) map[string]int {
	t.Helper()
	keep := func(f *os.File, err error) int {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return int(f.Fd())
	}
	memfd := func(size int64, seals int) int {
		fd, err := unix.MemfdCreate("bullpen-lane", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		f := os.NewFile(uintptr(fd), "memfd")
		if err == nil {
			err = f.Truncate(size)
		}
		if err == nil {
			_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
		}
		return keep(f, err)
	}
	r, w, err := os.Pipe()
	keep(w, err)
	const all, right = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL, 4096 + 2*lane.MinRing
	return map[string]int{
		"a pipe":                keep(r, nil),
		"a regular file":        keep(os.CreateTemp(t.TempDir(), "")),
		"without seals":         memfd(right, 0),
		"without one seal":      memfd(right, all&^unix.F_SEAL_SHRINK),
		"empty":                 memfd(0, all),
		"of a page":             memfd(4096, all),
		"a byte too long":       memfd(right+1, all),
		"no power of two":       memfd(4096+2*3*4096, all),
		"larger than it can be": memfd(4096+4*lane.MaxRing, all),
		"one that only reads":   readOnly(t, memfd(right, all)),
	}
}

// readOnly returns a descriptor of the same file that can't be written through.
func readOnly(t *testing.T, fd int) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return int(f.Fd())
}

// A worker that can't use what it is sent says so, goes on, and keeps nothing of it.
func TestLaneThatIsNone(t *testing.T) {
	t.Parallel()
	address := newServer(t, server.Limits{}).serve(t, "unix")
	for name, fd := range bad(t) {
		o := offer(t, address, wire.LaneLayout)
		o.works(1)
		before := o.files()
		o.lane(fd)
		o.hears(wire.TypeLane, 0)
		o.works(2)
		if now := o.files(); now != before || o.mapped() {
			t.Errorf("%s: the worker has %d descriptors instead of %d", name, now, before)
		}
		o.lane(fd) // once is enough
		o.isViolation()
	}
	o := offer(t, address, wire.LaneLayout)
	o.works(1)
	o.lane()
	o.hears(wire.TypeLane, 0)
	o.works(2)
}

// Of many descriptors the last one counts, be it sent with a message before, and none is kept.
func TestLaneWithManyDescriptors(t *testing.T) {
	t.Parallel()
	address := newServer(t, server.Limits{}).serve(t, "unix")
	for name, test := range map[string]func(o *offering, good, bad int) uint32{
		"bad, good": func(o *offering, good, bad int) uint32 { o.lane(bad, good); return 1 },
		"good, bad": func(o *offering, good, bad int) uint32 { o.lane(good, bad); return 0 },
		"more than there is room for": func(o *offering, good, bad int) uint32 {
			var fds []int
			for range 100 {
				fds = append(fds, bad)
			}
			o.lane(fds...)
			return 0
		},
		"with a call before": func(o *offering, good, bad int) uint32 {
			o.with = unix.UnixRights(bad, good)
			o.works(2)
			o.lane()
			return 1
		},
	} {
		o := offer(t, address, wire.LaneLayout)
		o.works(1)
		before := o.files()
		m, good := o.memory()
		o.hears(wire.TypeLane, test(o, good, bad(t)["a pipe"]))
		if now := o.files(); now != before {
			t.Errorf("%s: the worker has %d descriptors instead of %d", name, now, before)
		}
		_ = m
	}
}

// A lane that was not agreed on is a violation, and so is one whose answer isn't waited for.
func TestLaneThatMayNotCome(t *testing.T) {
	t.Parallel()
	s := newServer(t, server.Limits{})
	address := s.serve(t, "unix")
	for name, layout := range map[string]uint8{"without key 10": 0, "of another layout": wire.LaneLayout + 1} {
		t.Log(name)
		o := offer(t, address, layout)
		_, fd := o.memory()
		o.works(1)
		o.lane(fd)
		o.isViolation()
	}

	o := &offering{T: t, nc: dial(t, "unix", address).(*net.UnixConn)} // without a hello
	o.c = wire.NewClientConn(o, wire.Binary, 0)
	_, fd := o.memory()
	o.lane(fd)
	o.isViolation()

	o = offer(t, address, wire.LaneLayout)
	_, fd = o.memory()
	o.with = unix.UnixRights(fd)
	both := &strings.Builder{}
	c := wire.NewClientConn(struct {
		io.Reader
		io.Writer
	}{nil, both}, wire.Binary, 0)
	c.Write(&wire.Message{Type: wire.TypeLane})
	c.Write(&wire.Message{Type: wire.TypeDo, ID: 1, Method: "getpid"})
	if _, err := o.Write([]byte(both.String()[1:])); err != nil { // without a client's first byte
		t.Fatal(err)
	}
	o.isViolation()

	p := newPool(t, pool.Unix(address), pool.Config{})
	if _, err := getpid.Call(proctest.Limited(t), p); err != nil {
		t.Error(err)
	}
}
