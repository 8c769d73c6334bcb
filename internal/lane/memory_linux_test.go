package lane_test

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/lane"
)

// Where the words are, as the package's comment has it.
const (
	page       = 4 << 10
	appWords   = 0
	workWords  = 512
	tailWord   = 0
	lookWord   = 8
	headWord   = 128
	asleepWord = 256
	fullWord   = 384
)

func TestCreate(t *testing.T) {
	t.Parallel()
	for _, ring := range []int{-1, 0, 1, lane.MinRing / 2, lane.MinRing + 1, 3 * lane.MinRing, 2 * lane.MaxRing} {
		if m, err := lane.Create(ring); err == nil {
			t.Errorf("Create(%d) worked", ring)
			m.Close()
		}
	}
	m := create(t, lane.DefaultRing)
	fd := int(m.File().Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size != page+2*lane.DefaultRing || st.Size > 4<<20 || st.Blocks*512 < st.Size {
		t.Errorf("size %d, blocks %d, %v", st.Size, st.Blocks, err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags %#x, %v", flags, err)
	}
	for _, size := range []int64{0, page, page + 4*lane.DefaultRing} {
		if err := unix.Ftruncate(fd, size); err == nil {
			t.Errorf("the memory could be cut to %d bytes", size)
		}
	}
	if o := open(t, fd); o.Ring() != lane.DefaultRing || o.File() != nil {
		t.Errorf("Open: a ring of %d bytes, file %v", o.Ring(), o.File())
	}
}

// Close gives the pages back even if the peer still has them mapped.
func TestCloseFrees(t *testing.T) {
	t.Parallel()
	app, b := bells(t)
	m := create(t, lane.DefaultRing)
	f, err := unix.FcntlInt(m.File().Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(f)
	worker := lane.NewWorker(open(t, f), b)
	if _, err := lane.NewApp(m, app, now, new(lane.Network)).Write(make([]byte, lane.DefaultRing)); err != nil {
		t.Fatal(err)
	}
	if n := blocks(t, f); n < lane.DefaultRing {
		t.Errorf("a full ring takes %d bytes", n)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if n := blocks(t, f); n != 0 {
		t.Errorf("after Close it takes %d bytes", n)
	}
	b.SetReadDeadline(time.Unix(1, 0))
	if n, err := worker.Read(make([]byte, 1)); err == nil {
		t.Errorf("the peer has read %d bytes", n)
	}
}

func blocks(t *testing.T, fd int) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	const all = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	const good = page + 2*lane.MinRing
	for _, tt := range []struct {
		name  string
		size  int64
		seals int
	}{
		{"no seals", good, 0},
		{"it can shrink", good, unix.F_SEAL_GROW | unix.F_SEAL_SEAL},
		{"it can grow", good, unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL},
		{"it can be sealed", good, unix.F_SEAL_SHRINK | unix.F_SEAL_GROW},
		{"it can't be written", good, all | unix.F_SEAL_WRITE},
		{"it can't be written from now on", good, all | unix.F_SEAL_FUTURE_WRITE},
		{"empty", 0, all},
		{"no rings", page, all},
		{"small rings", page + lane.MinRing, all},
		{"odd rings", page + 6*lane.MinRing, all},
		{"a byte more", good + 1, all},
		{"a page more", good + page, all},
		{"large rings", page + 4*lane.MaxRing, all},
		{"enormous", 1 << 50, all},
	} {
		fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Ftruncate(fd, tt.size); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, tt.seals); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		refuse(t, tt.name, fd)
		unix.Close(fd)
	}
}

func TestOpenRefusesOtherFiles(t *testing.T) {
	t.Parallel()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(page + 2*lane.MinRing); err != nil {
		t.Fatal(err)
	}
	refuse(t, "a file", int(f.Fd()))
	a, b := pair(t)
	defer a.Close()
	defer b.Close()
	refuse(t, "a socket", int(a.Fd()))
	refuse(t, "nothing", -1)
	m := create(t, lane.MinRing)
	r, err := os.Open("/proc/self/fd/" + strconv.Itoa(int(m.File().Fd())))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	refuse(t, "read-only", int(r.Fd()))
}

func refuse(t *testing.T, what string, fd int) {
	t.Helper()
	if m, err := lane.Open(fd); err == nil {
		t.Errorf("%s: Open has taken it", what)
		m.Close()
	} else {
		t.Logf("%s: %v", what, err)
	}
}

// share maps a memory as a peer does that keeps to nothing.
func share(t testing.TB, fd int) []byte {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	return mem
}

// Indices that can't be are found at once, on both sides, in both directions.
func TestCorrupt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		make func(*lane.Memory, lane.Bell) *lane.End
		peer int
	}{
		{"app", func(m *lane.Memory, b lane.Bell) *lane.End { return lane.NewApp(m, b, now, new(lane.Network)) }, workWords},
		{"worker", lane.NewWorker, appWords},
	} {
		for _, v := range []uint64{lane.MinRing + 1, 1 << 31, 1 << 32, 1 << 63, 1<<64 - 1} {
			a, _ := bells(t)
			a.SetReadDeadline(time.Now().Add(patience))
			m := create(t, lane.MinRing)
			mem := share(t, int(m.File().Fd()))
			e := tt.make(m, a)
			binary.NativeEndian.PutUint64(mem[tt.peer+tailWord:], v)
			if n, err := e.Read(make([]byte, 2*lane.MinRing)); n != 0 || !errors.Is(err, lane.ErrCorrupt) {
				t.Errorf("%s, tail %#x: Read returned %d, %v", tt.name, v, n, err)
			}
			binary.NativeEndian.PutUint64(mem[tt.peer+headWord:], v)
			n, err := e.Write(make([]byte, 2*lane.MinRing))
			if n != lane.MinRing || !errors.Is(err, lane.ErrCorrupt) {
				t.Errorf("%s, head %#x: Write returned %d, %v", tt.name, v, n, err)
			}
		}
	}
}

// What a peer says of how long to look is cut, so that a worker doesn't look for seconds: it gets to its bell.
func TestLookIsBounded(t *testing.T) {
	t.Parallel()
	m := create(t, lane.MinRing)
	mem := share(t, int(m.File().Fd()))
	for _, v := range []uint32{1<<31 - 1, 1<<32 - 1} {
		binary.NativeEndian.PutUint32(mem[appWords+lookWord:], v)
		for range 1000 {
			if _, err := lane.NewWorker(m, deadBell{}).Read(make([]byte, 1)); err != io.EOF {
				t.Fatal(err)
			}
		}
	}
}

type deadBell struct{}

func (deadBell) Ring() error { return nil }
func (deadBell) Wait() error { return io.EOF }
