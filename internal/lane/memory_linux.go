package lane

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Supported says whether this system has such memory.
const Supported = true

const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// Create makes the memory, with rings of the given size: a power of two from MinRing to MaxRing. All of it is taken from the
// system at once.
func Create(ring int) (*Memory, error) {
	if err := checkRing(ring); err != nil {
		return nil, fmt.Errorf("shared memory: %w", err)
	}
	fd, err := unix.MemfdCreate("bullpen-lane", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate("bullpen-lane", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("shared memory: %w", os.NewSyscallError("memfd_create", err))
	}
	f := os.NewFile(uintptr(fd), "bullpen-lane")
	m, err := fill(fd, ring)
	if err != nil {
		f.Close()
		return nil, err
	}
	m.file = f
	return m, nil
}

// fill gives a new file its size and seals, and maps it.
func fill(fd, ring int) (*Memory, error) {
	if err := unix.Ftruncate(fd, int64(pageSize+2*ring)); err != nil {
		return nil, fmt.Errorf("shared memory: %w", os.NewSyscallError("ftruncate", err))
	}
	// Memory that runs out shows here, and not where a page is first touched: that kills.
	if err := unix.Fallocate(fd, 0, 0, int64(pageSize+2*ring)); err != nil {
		return nil, fmt.Errorf("shared memory: %w", os.NewSyscallError("fallocate", err))
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("shared memory: %w", os.NewSyscallError("fcntl", err))
	}
	return mapped(fd, ring)
}

// Open maps the memory that the peer has sent. It refuses a file that is no memory, whose size the peer could change later,
// or is not that of a page and two rings. The descriptor stays the caller's, who closes it.
func Open(fd int) (*Memory, error) {
	got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return nil, fmt.Errorf("shared memory: the descriptor is of another kind: %w", os.NewSyscallError("fcntl", err))
	}
	if got&seals != seals {
		return nil, fmt.Errorf("shared memory: it has the seals %#x and needs %#x", got, seals)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return nil, fmt.Errorf("shared memory: %w", os.NewSyscallError("fstatfs", err))
	}
	if fs.Type != unix.TMPFS_MAGIC { // of huge pages there may be none when one is first touched, which kills
		return nil, fmt.Errorf("shared memory: it is on a file system of type %#x", fs.Type)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("shared memory: %w", os.NewSyscallError("fstat", err))
	}
	ring := (min(max(st.Size, 0), pageSize+2*MaxRing+2) - pageSize) / 2
	if err := checkRing(int(ring)); err != nil || st.Size != pageSize+2*ring {
		return nil, fmt.Errorf("shared memory: it has %d bytes, which is not a page and two rings", st.Size)
	}
	return mapped(fd, int(ring))
}

func mapped(fd, ring int) (*Memory, error) {
	mem, err := unix.Mmap(fd, 0, pageSize+2*ring, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("shared memory: %w", os.NewSyscallError("mmap", err))
	}
	m := &Memory{mem: mem, ring: ring}
	runtime.AddCleanup(m, func(mem []byte) { unix.Munmap(mem) }, mem)
	return m, nil
}

// free gives the pages back. They are zeros to whoever touches them again.
func free(mem []byte) error {
	return os.NewSyscallError("madvise", unix.Madvise(mem, unix.MADV_REMOVE))
}

// yieldCore has another process run on this core, if there is one that wants to. The scheduler of Go isn't told: it is short.
func yieldCore() { unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
