package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuMeter measures the processor time of this process and others.
type cpuMeter struct {
	pids  []int
	start time.Duration
}

func newCPUMeter(pids []int) *cpuMeter {
	m := &cpuMeter{pids: pids}
	others, _ := m.others() // spent meets the same error
	own, _ := cpuTime(os.Getpid())
	m.start = others + own
	return m
}

// spent returns the processor time since the meter was made.
func (m *cpuMeter) spent() (time.Duration, error) {
	own, err := cpuTime(os.Getpid()) // before that which looking at the others takes
	if err != nil {
		return 0, err
	}
	others, err := m.others()
	return own + others - m.start, err
}

func (m *cpuMeter) others() (sum time.Duration, err error) {
	for _, pid := range m.pids {
		t, err := cpuTime(pid)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// cpuTime returns the processor time of a process, to the nanosecond, by its clock (clock_getcpuclockid(3)).
func cpuTime(pid int) (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED, of all threads
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &ts); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// proportional returns the sum of the processes' PSS in KiB: what a process has alone, and its share of the rest.
func proportional(pids []int) (float64, error) {
	var sum float64
	for _, pid := range pids {
		kib, err := field(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
		if err != nil {
			return 0, err
		}
		sum += kib
	}
	return sum, nil
}

// resident returns a process's memory in MiB, now and at most so far.
func resident(pid int) (now, most float64, err error) {
	file := fmt.Sprintf("/proc/%d/status", pid)
	if now, err = field(file, "VmRSS:"); err == nil {
		most, err = field(file, "VmHWM:")
	}
	return now / 1024, most / 1024, err
}

// forgetPeak has resident count a process's peak from now on.
func forgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// switches returns how often the threads of the processes have gone to sleep, and so how often they were woken.
func switches(pids []int) (sum float64, err error) {
	for _, pid := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, file := range files {
			if n, err := field(file, "voluntary_ctxt_switches:"); err == nil { // else the thread has ended
				sum += n
			}
		}
	}
	return sum, nil
}

// field returns the number behind a name in one of the kernel's files.
func field(file, name string) (float64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if f := strings.Fields(string(line)); len(f) > 1 && f[0] == name {
			return strconv.ParseFloat(f[1], 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}

// machine describes what the program runs on.
func machine() string {
	model := "unknown processor"
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	var u unix.Utsname
	unix.Uname(&u)
	return fmt.Sprintf("%s, Linux %s", model, unix.ByteSliceToString(u.Release[:]))
}

// busyness returns how many processes want a processor, as a warning that others use the machine too.
func busyness() string {
	b, err := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(b)); err == nil && len(f) > 0 {
		return f[0]
	}
	return "unknown"
}
