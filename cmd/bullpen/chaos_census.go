//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// chaosCensus counts what a program can leave behind.
type chaosCensus struct {
	processes   []string // with the run's mark: what they are
	zombies     int      // children of these, and of this process
	descriptors int      // of this process
	goroutines  int
	files       []string // temporary ones
	rss         int64
}

// takeChaosCensus counts. The mark is in the environment of all processes that count, and temporary files lie in dir.
func takeChaosCensus(mark, dir string) chaosCensus {
	debug.FreeOSMemory()
	c := chaosCensus{descriptors: chaosDescriptors(os.Getpid()), goroutines: runtime.NumGoroutine(), rss: chaosRSS(os.Getpid())}
	ours := map[int]bool{os.Getpid(): true}
	for pid, what := range chaosMarked(mark) {
		ours[pid] = true
		c.processes = append(c.processes, what)
	}
	for pid := range chaosProcesses() {
		if state, parent := chaosStat(pid); state == 'Z' && ours[parent] {
			c.zombies++
		}
	}
	filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir && err == nil {
			c.files = append(c.files, path)
		}
		return nil
	})
	return c
}

// settledChaosCensus takes the census when it has come down to the one before, or after a while.
func settledChaosCensus(mark, dir string, before chaosCensus) chaosCensus {
	for late := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c := takeChaosCensus(mark, dir)
		if time.Now().After(late) || len(c.processes) == 0 && c.zombies == 0 && len(c.files) == 0 &&
			c.descriptors <= before.descriptors && c.goroutines <= before.goroutines {
			return c
		}
	}
}

// chaosProcesses returns the pids of now.
func chaosProcesses() map[int]bool {
	pids := map[int]bool{}
	dirs, _ := os.ReadDir("/proc")
	for _, d := range dirs {
		if pid, err := strconv.Atoi(d.Name()); err == nil {
			pids[pid] = true
		}
	}
	return pids
}

// chaosMarked returns the processes that have the mark in their environment, and what they are.
func chaosMarked(mark string) map[int]string {
	found := map[int]string{}
	for pid := range chaosProcesses() {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || !bytes.Contains(env, []byte(mark+"\x00")) {
			continue
		}
		title, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		state, parent := chaosStat(pid)
		found[pid] = fmt.Sprintf("%d (child of %d, state %c) %s", pid, parent, state,
			strings.TrimSpace(strings.ReplaceAll(string(title), "\x00", " ")))
	}
	return found
}

// chaosKillMarked kills the processes that have the mark in their environment.
func chaosKillMarked(mark string) {
	for pid := range chaosMarked(mark) {
		if p, ok := chaosFind(pid, mark); ok {
			p.signal(unix.SIGKILL)
			p.close()
		}
	}
}

// chaosStat returns a process's state, 0 if there is no such process, and its parent.
func chaosStat(pid int) (state byte, parent int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := bytes.Cut(text[max(0, bytes.LastIndexByte(text, ')')):], []byte(") ")) // the name before may hold anything
	if ok {
		fmt.Sscanf(string(rest), "%c %d", &state, &parent)
	}
	return state, parent
}

// chaosDescriptors counts a process's open descriptors.
func chaosDescriptors(pid int) int {
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if pid == os.Getpid() {
		return len(fds) - 1 // the one that reads them
	}
	return len(fds)
}

// chaosRSS returns a process's resident memory in bytes.
func chaosRSS(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	var total, resident int64
	fmt.Sscan(string(text), &total, &resident)
	return resident * int64(os.Getpagesize())
}
