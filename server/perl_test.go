//go:build linux

package server_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/server"
)

// serveAt serves a service on a unix path until the test's end.
func serveAt(t *testing.T, path string, s *server.Server) {
	t.Helper()
	l, err := server.Listen(s.Service, "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
}

// A client in Perl, which knows of us what PROTOCOL.md says, uses one of our servers.
func TestPerlClient(t *testing.T) {
	t.Parallel()
	need(t, "perl")
	path := filepath.Join(t.TempDir(), "s")
	serveAt(t, path, &server.Server{Service: recorded})
	out, err := exec.CommandContext(proctest.Limited(t), "perl", "../testdata/perl/client.pl", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\n1..") {
		t.Errorf("%v\n%s", err, out)
	}
}

// anyEventTask is the service of AnyEvent::Task's own tests. Its setup data is the test's name.
var anyEventTask = server.NewService("AnyEvent::Task", server.Hooks{Setup: func(ctx context.Context) error {
	if name, _ := server.SetupData[string](ctx); name == "setup-errors.t" {
		return errors.New("SETUP EXCEPTION 1")
	}
	return nil
}})

func init() { server.HandleAny(anyEventTask, anyEventTaskInterface) }

func anyEventTaskInterface(ctx context.Context, r *server.Request) (any, error) {
	args, err := r.Args()
	if err != nil {
		return nil, err
	}
	test, err := server.SetupData[string](ctx)
	if err != nil {
		return nil, err
	}
	switch test + " " + r.Method {
	case "args.t error":
		return nil, fmt.Errorf("ERR: %v", args[0])
	case "dont_refork_after_error.t throw", "refork_after_error.t throw":
		return nil, errors.New(args[0].(string))
	case "error-clears-checkout-queue.t die":
		return nil, errors.New("ouch")
	case "logger.t normal":
		server.Logger(ctx).Info("hello from", "pid", os.Getpid())
		server.Timer(ctx, "junk")()
		return 1, nil
	case "logger.t error":
		server.Logger(ctx).Warn("something weird happened")
		return nil, errors.New("uh oh")
	case "logger.t sleep":
		time.Sleep(100 * time.Millisecond) // what the test asks for
		return nil, nil
	case "logger.t first arg":
		return nil, errors.New("no such method")
	case "manual-request-abort.t sleep_die", "timeout-hung-worker.t ", "timeout-in-progress.t ":
		<-ctx.Done()
		select {}
	case "worker-_exits.t ":
		os.Exit(1)
	case "surge.t ":
		return args[0], nil
	}
	switch {
	case test == "args.t" && r.Method == "":
		return args, nil
	case test == "args.t":
		return append([]any{r.Method}, args...), nil
	}
	return os.Getpid(), nil
}

// AnyEvent::Task's own tests run against our server: with handlers in Go, and with bullpen serve, whose workers run the
// test's Perl interface as a command. BULLPEN_ANYEVENT_TASK names the directory of its sources, which has lib and t.
func TestAnyEventTasksOwnTests(t *testing.T) {
	dir := os.Getenv("BULLPEN_ANYEVENT_TASK")
	if dir == "" {
		t.Skip("BULLPEN_ANYEVENT_TASK does not name the sources of Perl's AnyEvent::Task")
	}
	need(t, "perl")
	tests, err := filepath.Glob(filepath.Join(dir, "t", "*.t"))
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests in %s: %v", dir, err)
	}
	binary := filepath.Join(t.TempDir(), "bullpen")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/bullpen").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	stand, err := filepath.Abs("../testdata/perl/lib")
	if err != nil {
		t.Fatal(err)
	}
	const socket = "/tmp/anyevent-task-test.socket" // all of its tests use it
	// Some of its tests have clocks of their own, and surge.t counts on the 100th of 100 calls on five workers to end last.
	// Against the server that they come with they fail now and then, too.
	const tries = 6
	for _, mode := range []string{"go", "serve"} {
		for _, file := range tests {
			name := filepath.Base(file)
			t.Run(mode+"/"+name, func(t *testing.T) {
				if mode == "go" {
					s := &server.Server{Service: anyEventTask, SetupData: name, Limits: server.Limits{Standby: 5}}
					if name == "timeout-hung-worker.t" {
						s.Limits.HungTimeout = time.Second
					}
					serveAt(t, socket, s)
				}
				var err error
				for try := range tries {
					c := exec.CommandContext(proctest.Limited(t), "perl", "-I"+stand, "-I"+filepath.Join(dir, "lib"), file)
					c.Env = append(os.Environ(), "BULLPEN_AET="+mode, "BULLPEN_BINARY="+binary)
					var out []byte
					if out, err = c.CombinedOutput(); err == nil {
						return
					}
					t.Logf("try %d: %v\n%s", try+1, err, regexp.MustCompile(`(?m)^ok \d.*\n`).ReplaceAll(out, nil))
				}
				t.Error(err)
			})
		}
	}
}
