package role

import (
	"math"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// adopt ties this process to its parent and gives it its name. It runs on the main thread, from init.
//
// It dies with its parent by SIGKILL, which ends even a stopped process.
func adopt(r Role, parent int) {
	dieWith(parent, unix.SIGKILL) // again: exec drops what the parent has set for binaries with file capabilities
	if r == Server {
		runtime.LockOSThread() // begin must find the same thread
	}
	dropSignals()
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

// begin is called when the process takes its role. From here on a server is not killed with the app, but woken: it must
// outlive the app for the moment it takes to kill its workers' process groups, and the closing keepalive pipe tells it
// to.
func begin(r Role, parent int) {
	if r == Server {
		dieWith(parent, unix.SIGCONT)
	}
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
