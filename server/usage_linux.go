package server

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns the processor time of all threads of a process, of this one for 0. That of another one is on a clock
// whose number is made of its pid.
func cpuTime(pid int) time.Duration {
	clock := int32(unix.CLOCK_PROCESS_CPUTIME_ID)
	if pid != 0 {
		clock |= int32(^pid) << 3
	}
	var t unix.Timespec
	if unix.ClockGettime(clock, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// peakRSS returns the largest resident memory that a process has had, this one for 0, in bytes. getrusage would take
// less time, but its maximum begins with that of the process that has started this one.
func peakRSS(pid int) int64 {
	name := "/proc/self/status"
	if pid != 0 {
		name = fmt.Sprintf("/proc/%d/status", pid)
	}
	f, err := os.Open(name)
	if err != nil {
		return 0
	}
	defer f.Close()
	buf := make([]byte, 4<<10)
	n, _ := f.Read(buf)
	_, after, _ := bytes.Cut(buf[:n], []byte("\nVmHWM:"))
	line, _, _ := bytes.Cut(after, []byte("kB\n"))
	kib, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}
