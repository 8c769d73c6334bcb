package process

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// oomKills reads how many processes the kernel has killed for memory: in this process's cgroup where that is known, and
// in the whole system otherwise.
func oomKills() kills {
	groups, _ := os.ReadFile("/proc/self/cgroup") // each time: a process can be moved
	for _, file := range oomFiles(string(groups), memoryMounts()) {
		if n, ok := counter(file, "oom_kill"); ok {
			return kills{n: n, group: file}
		}
	}
	n, _ := counter("/proc/vmstat", "oom_kill")
	var info unix.Sysinfo_t
	unix.Sysinfo(&info)
	return kills{n: n, memory: int64(uint64(info.Totalram) * uint64(info.Unit))}
}

// mount is where a hierarchy of cgroups can be seen.
type mount struct {
	v2    bool
	root  string // the group that is mounted
	point string // where
}

// memoryMounts returns where memory cgroups can be seen.
var memoryMounts = sync.OnceValue(func() []mount {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	return parseMounts(string(text))
})

// parseMounts picks the mounts of memory cgroups, as proc_pid_mountinfo(5) lists them.
func parseMounts(text string) (all []mount) {
	for line := range strings.Lines(text) {
		before, after, _ := strings.Cut(line, " - ")
		f, kind := strings.Fields(before), strings.Fields(after)
		if len(f) < 5 || len(kind) < 3 {
			continue
		}
		switch kind[0] {
		case "cgroup2":
			all = append(all, mount{true, f[3], f[4]})
		case "cgroup":
			if hasWord(kind[2], "memory") {
				all = append(all, mount{false, f[3], f[4]})
			}
		}
	}
	return all
}

// oomFiles returns the files in which the counters of a process may stand whose /proc/PID/cgroup is given. In version 1
// a counter is that of the one group; in version 2 those of the groups in it are added.
func oomFiles(groups string, mounts []mount) (files []string) {
	for line := range strings.Lines(groups) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		for _, m := range mounts {
			below, ok := strings.CutPrefix(f[2], strings.TrimSuffix(m.root, "/"))
			switch {
			case !ok || below != "" && below[0] != '/':
			case m.v2 && f[0] == "0":
				files = append(files, filepath.Join(m.point, below, "memory.events"))
			case !m.v2 && hasWord(f[1], "memory"):
				files = append(files, filepath.Join(m.point, below, "memory.oom_control"))
			}
		}
	}
	return files
}

// hasWord reports whether a list with commas has the word.
func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// counter reads "NAME VALUE" from a file of such lines.
func counter(path, name string) (int64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
