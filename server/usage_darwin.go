package server

import (
	"syscall"
	"time"
)

// cpuTime returns the processor time of this process; of another one, a command, it can't be had.
func cpuTime(pid int) time.Duration {
	var u syscall.Rusage
	if pid != 0 || syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakRSS returns the largest resident memory that this process has had, in bytes.
func peakRSS(pid int) int64 {
	var u syscall.Rusage
	if pid != 0 || syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Maxrss
}
