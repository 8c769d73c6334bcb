package process

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const maxRSSUnit = 1 // ru_maxrss counts bytes

// self is the file that this program was started from. If it was replaced since, the new one is started, and the
// build ids tell.
func self() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// prepare: this system has neither parent-death signals nor pidfds.
func prepare(*syscall.SysProcAttr, syscall.Signal) *int { return nil }

// waiter waits for a child's end without reaping it.
type waiter struct{ pid int }

func newWaiter(pid int, _ *int) waiter { return waiter{pid} }

// exited returns once the child has ended. It holds a thread.
func (w waiter) exited() {
	kq, err := unix.Kqueue()
	if err != nil {
		return
	}
	defer unix.Close(kq)
	change := make([]unix.Kevent_t, 1)
	unix.SetKevent(&change[0], w.pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	change[0].Fflags = unix.NOTE_EXIT
	for {
		n, err := unix.Kevent(kq, change, make([]unix.Kevent_t, 1), nil)
		if err == unix.EINTR {
			continue
		}
		if n > 0 || err != nil { // ESRCH: it has ended already
			return
		}
	}
}

// ReapAdopted does nothing: no process adopts another's children here but init.
func ReapAdopted(func(pid int) bool) {}

// KillAdopted does nothing: see ReapAdopted.
func KillAdopted(mark string) {}

// KillMarked does nothing: another process's environment can't be read here.
func KillMarked(prefix string) {}

// AnyStopped reports false: here nobody can look at a child without taking its exit status.
func AnyStopped() bool { return false }

func isStopped(int) bool { return false }

func oomKills() kills { return kills{} }

// quitBusiest: this system has no signals for a thread of another process.
func quitBusiest(pid int) bool { return false }
