//go:build linux || darwin

package role_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/leaktest"
	"github.com/bullpen-go/bullpen/internal/role"
)

// envShow makes the test binary print what it is, from before Dispatch, and then dispatch.
const envShow = "BULLPEN_ROLE_TEST"

// shown is what a child prints.
type shown struct {
	Role       role.Role
	Parent     int
	Mark       string // what is left of it in the environment
	Procs      int
	EnvProcs   string
	CoreLimit  uint64
	Title      string
	Dispatched bool
	Checked    string // what CheckApp said
}

func show() {
	var core unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_CORE, &core)
	json.NewEncoder(os.Stdout).Encode(shown{role.Current(), role.Parent(), os.Getenv("BULLPEN_ROLE"), runtime.GOMAXPROCS(0),
		os.Getenv("GOMAXPROCS"), core.Cur, os.Args[0], role.Dispatched(), ""})
}

func TestMain(m *testing.M) {
	role.Register(role.Worker, func() { fmt.Println("worker dispatched") })
	switch os.Getenv(envShow) {
	case "show":
		show()
		role.Dispatch()
		fmt.Println("came back")
		os.Exit(0)
	case "check": // what Start does in a program without Init
		err := role.CheckApp()
		fmt.Println("checked:", err)
		os.Exit(0)
	}
	os.Exit(leaktest.Main(m))
}

// run runs the test binary with the environment, and returns what it printed to stdout and stderr and its exit code.
func run(t *testing.T, env []string, mode string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(env, envShow+"="+mode)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal("it did not start")
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func runShow(t *testing.T, env []string) (s shown, rest string) {
	t.Helper()
	out, errs, code := run(t, env, "show")
	line, rest, _ := strings.Cut(out, "\n")
	if err := json.Unmarshal([]byte(line), &s); err != nil || code != 0 {
		t.Fatalf("exit code %d, %q, %q, %v", code, out, errs, err)
	}
	return s, rest
}

// environ is this process's environment without the variables that matter here.
func environ(more ...string) (env []string) {
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "GOMAXPROCS=") && !strings.HasPrefix(kv, "BULLPEN_ROLE=") {
			env = append(env, kv)
		}
	}
	return append(env, more...)
}

func TestAppIsNothingSpecial(t *testing.T) {
	t.Parallel()
	s, rest := runShow(t, environ())
	if s.Role != role.App || s.Parent != 0 || s.Dispatched || rest != "came back\n" {
		t.Errorf("%+v, then %q", s, rest)
	}
}

func TestMarkMakesTheRole(t *testing.T) {
	t.Parallel()
	s, rest := runShow(t, role.Mark(environ(), role.Worker, 0))
	if s.Role != role.Worker || s.Parent != os.Getpid() || s.Mark != "" || s.CoreLimit > 1 {
		t.Errorf("%+v", s)
	}
	if rest != "worker dispatched\n" {
		t.Errorf("then %q", rest)
	}
}

func TestGOMAXPROCSIsTheRolesAlone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		before  []string
		procs   int
		want    int // 0: whatever the machine has
		envWant string
	}{
		{nil, 1, 1, ""},
		{[]string{"GOMAXPROCS=2"}, 1, 1, "2"},
		{[]string{"GOMAXPROCS=2"}, 0, 2, "2"},
		{[]string{"GOMAXPROCS="}, 3, 3, ""},
		{nil, 0, 0, ""},
	} {
		s, _ := runShow(t, role.Mark(environ(test.before...), role.Worker, test.procs))
		if test.want != 0 && s.Procs != test.want || s.EnvProcs != test.envWant {
			t.Errorf("%v with Procs %d: GOMAXPROCS is %d, and %q for its children", test.before, test.procs, s.Procs, s.EnvProcs)
		}
	}
}

func TestMarkReplacesAMark(t *testing.T) {
	t.Parallel()
	env := role.Mark([]string{"BULLPEN_ROLE=1:server:1:-:", "A=b"}, role.Worker, 0)
	if len(env) != 2 || env[0] != "A=b" || !strings.Contains(env[1], ":worker:") {
		t.Errorf("%q", env)
	}
}

func TestOrphanEndsAtOnce(t *testing.T) {
	t.Parallel()
	mark := fmt.Sprintf("BULLPEN_ROLE=1:worker:%d:-:", 1<<30) // a parent that it doesn't have
	if out, errs, code := run(t, environ(mark), "show"); code != 0 || out+errs != "" {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
}

func TestMarkOfAnotherVersion(t *testing.T) {
	t.Parallel()
	for _, mark := range []string{"2:worker:1:-:", "1:worker", "", "worker"} {
		out, errs, code := run(t, environ("BULLPEN_ROLE="+mark), "show")
		if code != 3 || out != "" || !strings.Contains(errs, "another version") {
			t.Errorf("%q: exit code %d, %q, %q", mark, code, out, errs)
		}
	}
}

func TestRoleThatNobodyHas(t *testing.T) {
	t.Parallel()
	_, errs, code := run(t, role.Mark(environ(), role.Server, 0), "show")
	if code != 3 || !strings.Contains(errs, `no role "server"`) {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

// A child that runs past the place where Init should be ends itself when it is about to start children of its own. The
// app gets an error.
func TestCheckAppWithoutInit(t *testing.T) {
	t.Parallel()
	out, _, code := run(t, environ(), "check")
	if code != 0 || !strings.Contains(out, "forkserver.Init()") || !strings.Contains(out, "TestMain") {
		t.Errorf("in the app: exit code %d, %q", code, out)
	}
	out, errs, code := run(t, role.Mark(environ(), role.Worker, 0), "check")
	if code != 3 || out != "" || !strings.Contains(errs, "forkserver.Init()") {
		t.Errorf("in a child: exit code %d, %q, %q", code, out, errs)
	}
}
