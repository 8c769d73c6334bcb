package server

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How long a server may live on after its app: until it is woken by its workers, and until they kill it.
const (
	wakeServerAfter = 300 * time.Millisecond
	killServerAfter = 400 * time.Millisecond // after that
)

// watchApp ends the server when its app has died, and somebody has stopped the server before it could end itself: it
// would stay like this, and its workers with it.
func watchApp(app int) {
	server := os.Getppid()
	fd, err := unix.PidfdOpen(app, unix.PIDFD_NONBLOCK)
	if err != nil {
		return // such a server is not watched; its death is seen all the same
	}
	pidfd := os.NewFile(uintptr(fd), "pidfd") // in Go's poller: it holds no thread
	defer pidfd.Close()
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return
	}
	err = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
	if err != nil {
		return
	}
	// The server's end ends this process, so there is nothing else to wait for.
	time.Sleep(wakeServerAfter)
	signalServer(server, syscall.SIGCONT)
	time.Sleep(killServerAfter)
	signalServer(server, syscall.SIGKILL)
}

// stayIfOrphaned does not return if the app is ending or has ended. Its workers see their connections close then, and must
// not go before their server: they are the only ones who can end it if it was stopped.
func stayIfOrphaned(app int) {
	if app != 0 && isEnding(app) {
		select {}
	}
}

// isEnding reports whether a process is ending or has ended. When in doubt, it is not.
func isEnding(pid int) bool {
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return true
	}
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // from field 3 on, as proc(5) counts
	if len(f) < 7 {
		return false
	}
	const exiting = 4 // PF_EXITING: set before a process's descriptors are closed
	flags, _ := strconv.ParseUint(string(f[6]), 10, 64)
	return flags&exiting != 0
}

// signalServer signals the server if it still is this process's parent.
func signalServer(server int, sig syscall.Signal) {
	if os.Getppid() == server {
		syscall.Kill(server, sig)
	}
}
