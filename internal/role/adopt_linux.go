package role

import (
	"math"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// adopt ties this process to its parent and gives it its name. It runs on the main thread, from init.
//
// It dies with its parent by SIGKILL, which ends even a stopped process.
func adopt(r Role, parent int) {
	dieWith(parent, unix.SIGKILL) // again: exec drops what the parent has set for binaries with file capabilities
	if r == Server {
		runtime.LockOSThread() // Outlive must find the same thread
		DropSignals()
	} else {
		hush()
	}
	// No core dumps: what a worker has in memory is nobody's business. A limit of 1 also keeps the kernel from starting
	// a core_pattern program, which 0 does not (core(5)).
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1})
	setComm(os.Args[0])
	if r == Worker {
		raiseOOMScore()
	} else {
		unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	// Neither our own descriptors nor what the app leaked into us may reach what we start.
	unix.CloseRange(ServerControl, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
}

// Outlive is called by a server, from the goroutine that Dispatch runs on. From here on the server is not killed with the
// app, but woken: it must outlive the app for the moment it takes to kill its workers' process groups, and the closing
// keepalive pipe tells it to. While it has no workers, Leash has it killed all the same.
func Outlive() { dieWith(parent, unix.SIGCONT) }

// Leash is called by a server from one and the same thread, which lives as long as the process: with busy once it has
// workers, and without when it has none any more. Without workers there is nothing to be done after the app's death, and
// SIGKILL ends also a server that somebody stops in that moment.
func Leash(busy bool) {
	if busy {
		unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0)
	} else {
		dieWith(parent, unix.SIGKILL)
	}
}

// EndWithin has the kernel kill this process after d, also if somebody stops it before.
func EndWithin(d time.Duration) {
	event := struct { // the head of a struct sigevent
		value  uintptr
		signo  int32
		notify int32 // 0 is SIGEV_SIGNAL
		_      [52]byte
	}{signo: int32(unix.SIGKILL)}
	var timer int32
	_, _, errno := unix.RawSyscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&timer)))
	if errno != 0 {
		return
	}
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	unix.RawSyscall6(unix.SYS_TIMER_SETTIME, uintptr(timer), 0, uintptr(unsafe.Pointer(&at)), 0, 0, 0)
}

// dieWith has the kernel send sig to this process when the parent's end comes. It belongs to the thread.
func dieWith(parent int, sig unix.Signal) {
	unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(sig), 0, 0, 0)
	if os.Getppid() != parent { // it ended before the line above
		os.Exit(0)
	}
}

// setComm sets the name that top and ps -o comm show. The kernel cuts it to 15 bytes.
func setComm(title string) {
	if name, err := unix.BytePtrFromString(title); err == nil {
		unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(name)), 0, 0, 0)
	}
}

// raiseOOMScore has the kernel pick a worker before the app when memory runs out.
func raiseOOMScore() {
	if fd, err := unix.Open("/proc/self/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
		unix.Write(fd, []byte("500"))
		unix.Close(fd)
	}
}
