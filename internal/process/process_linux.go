package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const maxRSSUnit = 1 << 10 // ru_maxrss counts KiB

// self is the running program, also when its file was replaced or deleted.
func self() string { return "/proc/self/exe" }

// prepare asks for a parent-death signal and a pidfd. The returned pointer holds the pidfd once the child is
// started, or -1 where the kernel has none.
func prepare(attr *syscall.SysProcAttr, death syscall.Signal) *int {
	attr.Pdeathsig = death
	pidfd := -1
	attr.PidFD = &pidfd
	return &pidfd
}

// waiter waits for a child's end without reaping it.
type waiter struct {
	pid   int
	pidfd *os.File // nil where the kernel has none
}

func newWaiter(pid int, pidfd *int) waiter {
	w := waiter{pid: pid}
	if *pidfd >= 0 && unix.SetNonblock(*pidfd, true) == nil {
		w.pidfd = os.NewFile(uintptr(*pidfd), "pidfd") // in Go's poller: a waiting child holds no thread
	}
	return w
}

// exited returns once the child has ended.
func (w waiter) exited() {
	if w.pidfd != nil {
		defer w.pidfd.Close()
		if conn, err := w.pidfd.SyscallConn(); err == nil {
			err = conn.Read(func(fd uintptr) bool { return ended(unix.P_PIDFD, int(fd), unix.WNOHANG) })
			if err == nil {
				return
			}
		}
	}
	ended(unix.P_PID, w.pid, 0)
}

func ended(idType, id, flags int) bool {
	for {
		var info unix.Siginfo
		err := unix.Waitid(idType, id, &info, unix.WEXITED|unix.WNOWAIT|flags, nil)
		switch err {
		case nil:
			return info.Signo != 0
		case unix.EINTR:
		default:
			return true
		}
	}
}

// AnyStopped reports whether any child of this process is stopped.
func AnyStopped() bool { return stopped(unix.P_ALL, 0) }

func isStopped(pid int) bool { return stopped(unix.P_PID, pid) }

// stopped looks without taking anything from anybody else who waits.
func stopped(idType, id int) bool {
	var info unix.Siginfo
	err := error(unix.EINTR)
	for err == unix.EINTR {
		err = unix.Waitid(idType, id, &info, unix.WSTOPPED|unix.WNOWAIT|unix.WNOHANG, nil)
	}
	return err == nil && info.Signo != 0
}

var adopted sync.Mutex // one reaper of adopted children at a time

// ReapAdopted reaps ended children that this process did not start: what workers left behind comes to their server.
// own tells which pids have a waiter of their own.
func ReapAdopted(own func(pid int) bool) {
	adopted.Lock()
	defer adopted.Unlock()
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		pid := siginfoPid(&info)
		if err != nil || info.Signo == 0 || own(pid) {
			return // none, or one whose own waiter will call again
		}
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != nil {
			return
		}
	}
}

// siginfoPid reads si_pid, which x/sys leaves in a blank field: it follows three ints, aligned as a pointer is.
func siginfoPid(info *unix.Siginfo) int {
	const offset = (12 + unsafe.Sizeof(uintptr(0)) - 1) &^ (unsafe.Sizeof(uintptr(0)) - 1)
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), offset)))
}

// quitBusiest sends SIGQUIT to the thread that has used most time of those that run now. It reports whether there was
// one.
func quitBusiest(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	busiest, most := 0, uint64(0)
	for _, file := range stats {
		stat, _ := os.ReadFile(file)
		f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // from field 3 on, as proc(5) counts
		if len(f) < 12 || string(f[0]) != "R" {
			continue
		}
		used, _ := strconv.ParseUint(string(f[11]), 10, 64)
		tid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if busiest == 0 || used > most {
			busiest, most = tid, used
		}
	}
	return busiest != 0 && unix.Tgkill(pid, busiest, unix.SIGQUIT) == nil
}
