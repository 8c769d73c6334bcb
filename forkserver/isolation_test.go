//go:build linux

package forkserver_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/server"
)

// process is what a worker sees of itself.
type seen struct {
	Files     map[string]string // descriptor → what it is
	Args      []string
	Env       []string
	Dir       string
	Procs     int
	CoreLimit uint64
	OOMScore  string
	Group     bool // it leads its process group
}

var look = server.Handle0(basic, "look", func(context.Context) (seen, error) {
	s := seen{Files: map[string]string{}, Args: os.Args, Env: os.Environ(), Procs: runtime.GOMAXPROCS(0), Group: unix.Getpgrp() == os.Getpid()}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return s, err
	}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil { // but for the directory's own
			s.Files[e.Name()] = target
		}
	}
	var core unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_CORE, &core)
	s.CoreLimit = core.Cur
	score, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return s, err
	}
	s.OOMScore = strings.TrimSpace(string(score))
	s.Dir, err = os.Getwd()
	return s, err
})

// kinds counts what descriptors are.
func kinds(files map[string]string) (kinds []string) {
	for _, target := range files {
		if strings.HasPrefix(target, "/sys/fs/cgroup/") {
			continue // the runtime's: it looks how many processors it may use
		}
		kind, _, _ := strings.Cut(target, ":[")
		kinds = append(kinds, kind)
	}
	sort.Strings(kinds)
	return kinds
}

func TestDescriptorsOfAWorker(t *testing.T) {
	// What the app leaks on purpose, without close-on-exec.
	leak, err := os.Create(filepath.Join(t.TempDir(), "leaked"))
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	fd, err := unix.Dup(int(leak.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	tr := start(t, basic, forkserver.Config{Listen: []string{filepath.Join(t.TempDir(), "socket"), "127.0.0.1:0"},
		Limits: server.Limits{Standby: 1}})
	p := newPool(t, tr, poolConfig)
	other := checkout(t, p)
	for range 2 { // a standby, and one that is started for its connection
		s := must(look.Call(proctest.Limited(t), checkout(t, p)))(t)
		// Its connection, the link to its server, the keepalive pipe; 0, 1 and 2; the runtime's poller, with an eventfd,
		// and the connection's; the app, whose end it waits for.
		want := []string{"/dev/null", "anon_inode", "anon_inode", "anon_inode", "anon_inode", "pipe", "pipe", "pipe", "socket", "socket"}
		if got := kinds(s.Files); !slices.Equal(got, want) {
			t.Errorf("%v instead of %v: %v", got, want, s.Files)
		}
		if s.Files["0"] != os.DevNull {
			t.Errorf("stdin is %s", s.Files["0"])
		}
		for _, n := range []string{"1", "2"} {
			if own, _ := os.Readlink("/proc/self/fd/" + n); !strings.HasPrefix(s.Files[n], "pipe:") || s.Files[n] == own {
				t.Errorf("descriptor %s is %s", n, s.Files[n])
			}
		}
	}
	// What a worker starts gets none of them.
	out := must(shell.Call(proctest.Limited(t), other, "for f in /proc/$$/fd/*; do test -e $f && echo ${f##*/}; done; true"))(t)
	for _, n := range strings.Fields(out) {
		if n != "0" && n != "1" && n != "2" && n != "10" && n != "255" { // the latter two are the shell's own
			t.Errorf("a child of the worker has descriptor %s", n)
		}
	}
}

func TestTitles(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	comm := func(pid int) string {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return strings.TrimSpace(string(b))
	}
	if got := proctest.Title(tr.Pid()); got != "bullpen server: basic" {
		t.Errorf("the server's title: %q", got)
	}
	if got := comm(tr.Pid()); got != "bullpen server:" {
		t.Errorf("the server's comm: %q", got)
	}
	for i := range 3 {
		pid := checkout(t, p).Pid()
		if got, want := proctest.Title(pid), fmt.Sprintf("bullpen worker: basic(%d)", i+1); got != want {
			t.Errorf("the worker's title: %q instead of %q", got, want)
		}
		if got := comm(pid); got != "bullpen worker:" {
			t.Errorf("the worker's comm: %q", got)
		}
	}
}

func TestWorkersSurroundings(t *testing.T) {
	t.Setenv("GOMAXPROCS", "7") // as the app was started with it
	t.Setenv("SEEN", "by the app")
	tr := start(t, basic, forkserver.Config{})
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	os.Setenv("SEEN", "changed after Start")
	t.Chdir(t.TempDir())
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	s := must(look.Call(proctest.Limited(t), co))(t)
	if len(s.Args) != 1 {
		t.Errorf("arguments: %q", s.Args)
	}
	if s.Dir != dir {
		t.Errorf("directory %s instead of %s", s.Dir, dir)
	}
	for _, kv := range s.Env {
		if strings.HasPrefix(kv, "BULLPEN_ROLE") {
			t.Errorf("the environment has %s", kv)
		}
	}
	if !slices.Contains(s.Env, "SEEN=by the app") || !slices.Contains(s.Env, "GOMAXPROCS=7") {
		t.Errorf("environment %q", s.Env)
	}
	if s.Procs != 1 {
		t.Errorf("GOMAXPROCS is %d", s.Procs)
	}
	if s.CoreLimit > 1 {
		t.Errorf("core dumps of %d bytes", s.CoreLimit)
	}
	if s.OOMScore != "500" {
		t.Errorf("oom_score_adj is %s", s.OOMScore)
	}
	if !s.Group {
		t.Error("it is not its process group's leader")
	}
	if got := must(shell.Call(proctest.Limited(t), co, `echo "$GOMAXPROCS $SEEN"; ulimit -c`))(t); got != "7 by the app\n0" && got != "7 by the app\n1" {
		t.Errorf("its child sees %q", got)
	}
}

func TestEnvironmentIsConfigs(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"ONLY=this", "GORACE=atexit_sleep_ms=0"}
	tr := start(t, basic, forkserver.Config{Env: env, Dir: dir, Limits: server.Limits{Procs: 3}})
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	s := must(look.Call(proctest.Limited(t), co))(t)
	s.Env = slices.DeleteFunc(s.Env, func(kv string) bool { return strings.HasPrefix(kv, "BULLPEN_WORKER=") })
	if want := append(env, envMark+"="+tr.mark); !slices.Equal(s.Env, want) {
		t.Errorf("environment %q", s.Env)
	}
	if s.Dir != dir || s.Procs != 3 {
		t.Errorf("directory %s, GOMAXPROCS %d", s.Dir, s.Procs)
	}
	if got := must(shell.Call(proctest.Limited(t), co, `echo "${GOMAXPROCS-unset}"`))(t); got != "unset" {
		t.Errorf("GOMAXPROCS of its child: %q", got)
	}
}

func TestAllProcessors(t *testing.T) {
	t.Setenv("GOMAXPROCS", "5")
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Procs: -1}})
	if s := must(look.Call(proctest.Limited(t), newPool(t, tr, poolConfig)))(t); s.Procs != 5 || !slices.Contains(s.Env, "GOMAXPROCS=5") {
		t.Errorf("GOMAXPROCS is %d", s.Procs)
	}
}

// What Start is given stays the caller's.
func TestConfigIsLeftAlone(t *testing.T) {
	t.Parallel()
	c := forkserver.Config{}
	p, err := forkserver.Start(proctest.Limited(t), basic, c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if c.Env != nil || c.Dir != "" || c.Limits != (server.Limits{}) {
		t.Errorf("%+v", c)
	}
}
