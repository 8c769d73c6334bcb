package observe

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/process"
	"github.com/bullpen-go/bullpen/internal/scoreboard"
)

// Look looks at the app with that pid: at its pools, at the servers that it has started, and at its own workers if it
// serves others.
func Look(pid int) (*App, error) {
	a := &App{Pid: pid, Command: command(pid), Time: time.Now()}
	own, err := filesOf(pid)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("process %d can be looked at by its own user only: %w", pid, err)
	case errors.Is(err, fs.ErrNotExist) || zombie(pid):
		return nil, fmt.Errorf("there is no process %d", pid)
	case err != nil:
		return nil, err
	}
	for _, name := range own[scoreboard.Pool] {
		if p := lookAtPool(name); p != nil {
			a.Pools = append(a.Pools, p)
		}
	}
	slices.SortFunc(a.Pools, func(a, b *scoreboard.PoolReading) int { return int(b.Uptime - a.Uptime) })
	for _, p := range append([]int{pid}, childrenOf(pid)...) {
		files := own
		if p != pid {
			if files, err = filesOf(p); err != nil {
				continue // it ends just now, or runs another user's program
			}
		}
		servers, err := lookAtServers(p, files)
		if err != nil {
			return nil, fmt.Errorf("process %d: %w", p, err)
		}
		a.Servers = append(a.Servers, servers...)
	}
	if len(a.Servers)+len(a.Pools) == 0 {
		return nil, &NotFoundError{pid}
	}
	return a, nil
}

func lookAtPool(name string) *scoreboard.PoolReading {
	f, err := os.Open(name)
	if err != nil {
		return nil // it was closed meanwhile
	}
	defer f.Close()
	p, _ := scoreboard.ReadPage(f)
	return p
}

// lookAtServers reads the scoreboards of one process: one, or one for each service that it serves.
func lookAtServers(pid int, files map[string]map[uint64]string) (servers []*Server, err error) {
	for inode := range files[scoreboard.Roster] {
		s, err := lookAtServer(pid, files, inode)
		if errors.Is(err, scoreboard.ErrLayout) {
			return nil, err
		}
		if err == nil && s.Reading.Server == pid {
			servers = append(servers, s)
		}
	}
	slices.SortFunc(servers, func(a, b *Server) int { return int(b.Uptime - a.Uptime) })
	return servers, nil
}

func lookAtServer(pid int, files map[string]map[uint64]string, inode uint64) (*Server, error) {
	roster, err := os.Open(files[scoreboard.Roster][inode])
	if err != nil {
		return nil, err
	}
	defer roster.Close()
	r, err := scoreboard.ReadHead(roster)
	if err != nil {
		return nil, err
	}
	slots, err := os.Open(files[scoreboard.Slots][r.Slots])
	if err != nil {
		return nil, err
	}
	defer slots.Close()
	if r, err = scoreboard.Read(roster, slots); err != nil {
		return nil, err
	}
	s := &Server{Reading: r, Roster: inode}
	for _, w := range r.Workers {
		o := Worker{WorkerReading: w, CPU: -1, RSS: -1}
		if cpu, rss, ok := process.UsageOf(w.Pid, pid); ok {
			o.CPU, o.RSS = cpu, rss
		}
		s.Workers = append(s.Workers, o)
	}
	return s, nil
}

// filesOf returns the files of bullpen's that a process has open: their names under /proc by kind and inode.
func filesOf(pid int) (map[string]map[uint64]string, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := map[string]map[uint64]string{}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		target, err := os.Readlink(name)
		kind, found := strings.CutPrefix(strings.TrimSuffix(target, " (deleted)"), "/memfd:")
		if err != nil || !found || !slices.Contains(kinds, kind) {
			continue // or it was closed meanwhile
		}
		info, err := os.Stat(name)
		if err != nil {
			continue
		}
		if files[kind] == nil {
			files[kind] = map[uint64]string{}
		}
		files[kind][info.Sys().(*syscall.Stat_t).Ino] = name
	}
	return files, nil
}

var kinds = []string{scoreboard.Pool, scoreboard.Roster, scoreboard.Slots, scoreboard.Asks}

// childrenOf returns the pids of a process's children.
func childrenOf(pid int) (children []int) {
	entries, _ := os.ReadDir("/proc")
	for _, p := range sorted(entries) {
		if _, _, ok := process.UsageOf(p, pid); ok {
			children = append(children, p)
		}
	}
	return children
}

// Find returns the pids of this user's apps: the processes that have a pool, or have started a server, or are one for others.
func Find() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var apps []int
	seen := map[int]bool{}
	for _, pid := range sorted(entries) {
		files, err := filesOf(pid)
		if err != nil || len(files[scoreboard.Pool])+len(files[scoreboard.Roster]) == 0 {
			continue
		}
		app := pid
		if len(files[scoreboard.Pool]) == 0 {
			s, _ := lookAtServers(pid, files)
			if len(s) > 0 && s[0].Reading.App != 0 {
				app = s[0].Reading.App
			}
		}
		if !seen[app] && app != os.Getpid() {
			seen[app] = true
			apps = append(apps, app)
		}
	}
	return apps, nil
}

// Listener returns the pid of the process that listens on a unix path.
func Listener(path string) (pid int, err error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return 0, fmt.Errorf("who listens there: %w", err)
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(cerr, err); err != nil {
		return 0, err
	}
	if cred.Pid == 0 {
		return 0, fmt.Errorf("whoever listens on %s can't be seen from here: it is in another container", path)
	}
	return int(cred.Pid), nil
}

// zombie reports whether a process has ended and is still to be reaped.
func zombie(pid int) bool {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := strings.LastIndex(string(stat), ") ")
	return i >= 0 && strings.HasPrefix(string(stat[i+2:]), "Z")
}

func command(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return scoreboard.Printable(strings.TrimSpace(string(b)))
}

// sorted returns the entries whose names are numbers, in order.
func sorted(entries []os.DirEntry) (numbers []int) {
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}
