package leaktest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const envMark = "BULLPEN_LEAKTEST" // "/PID/PID/": a tester, and one that it has started

func mark() {
	if before := os.Getenv(envMark); before != "" {
		os.Setenv(envMark, before+strconv.Itoa(os.Getpid())+"/")
		return
	}
	os.Setenv(envMark, "/"+strconv.Itoa(os.Getpid())+"/")
}

// addFiles adds the open descriptors.
func (s snapshot) addFiles() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil { // else it was the directory's own
			s["fd "+e.Name()+" "+target] = "descriptor " + e.Name() + ": " + target
		}
	}
}

// process is a line of the system's table.
type process struct {
	pid, parent    int
	start          string // tells it from a later one with its pid
	state, command string
}

// addProcesses adds this process's descendants.
func (s snapshot) addProcesses() {
	all := map[int]process{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if p, ok := readProcess(dir); ok {
			all[p.pid] = p
		}
	}
	for _, p := range all {
		if p.pid != os.Getpid() && (descends(p, all) || marked(p.pid)) {
			s[fmt.Sprintf("process %d %s", p.pid, p.start)] = fmt.Sprintf("process %d (%s), state %s, parent %d",
				p.pid, p.command, p.state, p.parent)
		}
	}
}

func readProcess(dir string) (p process, ok bool) {
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return p, false // it has ended
	}
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')') // a name may hold anything
	if open < 0 || end < open {
		return p, false
	}
	p.pid, _ = strconv.Atoi(filepath.Base(dir))
	p.command = string(stat[open+1 : end])
	f := strings.Fields(string(stat[end+1:])) // from field 3 on, as proc(5) counts
	if len(f) < 20 {
		return p, false
	}
	p.state, p.start = f[0], f[19]
	p.parent, _ = strconv.Atoi(f[1])
	return p, true
}

func descends(p process, all map[int]process) bool {
	for range len(all) { // pids may have changed hands while we looked
		if p.parent == os.Getpid() {
			return true
		}
		parent, ok := all[p.parent]
		if !ok {
			return false
		}
		p = parent
	}
	return false
}

// marked reports whether a process has our mark in its environment. Of a zombie and of other users' that can't be read.
func marked(pid int) bool {
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	for kv := range bytes.SplitSeq(env, []byte{0}) {
		if v, ok := bytes.CutPrefix(kv, []byte(envMark+"=")); ok {
			return bytes.Contains(v, []byte("/"+strconv.Itoa(os.Getpid())+"/"))
		}
	}
	return false
}
