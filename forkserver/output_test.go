//go:build linux

package forkserver_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

func TestWhatWorkersPrintIsLogged(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	first, second := checkout(t, p), checkout(t, p)
	must(printOut.Call(proctest.Limited(t), first, []byte("to stdout\r\n"), 1))(t)
	must(printErr.Call(proctest.Limited(t), second, []byte("to stderr\nhalf a "), 1))(t)
	must(printErr.Call(proctest.Limited(t), second, []byte("line\nbad \xff utf-8\n"), 1))(t)
	numbers := map[string]string{}
	for msg, want := range map[string]struct {
		stream string
		pid    int
	}{
		"to stdout":        {"stdout", first.Pid()},
		"to stderr":        {"stderr", second.Pid()},
		"half a line":      {"stderr", second.Pid()},
		"bad \uFFFD utf-8": {"stderr", second.Pid()},
	} {
		r := tr.logs.said(t, msg)
		if r.args["stream"] != want.stream || r.args["pid"] != strconv.Itoa(want.pid) || r.args["service"] != "basic" || r.level != hclog.Info {
			t.Errorf("%q: %+v", msg, r)
		}
		numbers[r.args["pid"]] = r.args["worker"]
	}
	if n, m := numbers[strconv.Itoa(first.Pid())], numbers[strconv.Itoa(second.Pid())]; n == m || n == "" || m == "" {
		t.Errorf("worker numbers %q and %q", n, m)
	}
}

// A line that never ends is forwarded in pieces, and nobody keeps it.
func TestLineOf10MB(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	must(echo.Call(proctest.Limited(t), co, "warm up"))(t)
	before := residentMiB(t, tr.Pid())
	const size = 10 << 20
	must(printErr.Call(proctest.Limited(t), co, bytes.Repeat([]byte("x"), 1<<20), size>>20))(t)
	must(printErr.Call(proctest.Limited(t), co, []byte("\nthe end\n"), 1))(t)
	tr.logs.said(t, "the end")
	total := 0
	for _, r := range tr.logs.List() {
		if r.args["stream"] != "stderr" || r.msg == "the end" {
			continue
		}
		total += len(r.msg)
		if len(r.msg) > 4<<10 || strings.Trim(r.msg, "x") != "" {
			t.Fatalf("a piece of %d bytes: %.100q", len(r.msg), r.msg)
		}
	}
	if total != size {
		t.Errorf("%d bytes of %d were forwarded", total, size)
	}
	if after := residentMiB(t, tr.Pid()); after > before+40*slowdown {
		t.Errorf("the server has grown from %d to %d MiB", before, after)
	}
}

// residentMiB returns how much memory a process has had at most.
func residentMiB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// slowSink is an app's logger that can't keep up. The sleeps are what it is: were it to wait for the worker's end, there
// would be none, as the worker waits until its output is read.
type slowSink struct {
	logs
	n *int
}

// Accept implements hclog.SinkAdapter.
func (s slowSink) Accept(name string, level hclog.Level, msg string, args ...any) {
	if *s.n++; *s.n%4 == 0 {
		time.Sleep(time.Millisecond)
	}
	s.logs.Accept(name, level, msg, args...)
}

// However late a worker's last words are read: none are lost.
func TestSlowLoggerLosesNothing(t *testing.T) {
	t.Parallel()
	logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
	slow := slowSink{logs{proctest.NewFeed[record]()}, new(int)}
	logger.RegisterSink(slow)
	events := proctest.NewFeed[server.Event]()
	srv, err := forkserver.Start(proctest.Limited(t), basic, forkserver.Config{Logger: logger, OnEvent: events.Add})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	p := newPool(t, srv, poolConfig)
	if _, err := die.Call(proctest.Limited(t), p, "long stderr"); err == nil {
		t.Error("the worker lives")
	}
	e := events.Wait(t, "its end", func(e server.Event) bool { return e.Type == server.WorkerEnded })
	if !strings.HasSuffix(string(e.Exit.StderrTail), "\nlast line\n") {
		t.Errorf("the tail ends with %q", e.Exit.StderrTail[max(len(e.Exit.StderrTail)-30, 0):])
	}
	lines := 0
	for _, r := range slow.List() {
		if r.args["stream"] == "stderr" {
			lines++
		}
	}
	if lines != 4098 {
		t.Errorf("%d lines of 4098 were logged", lines)
	}
	p.Close()
}

func TestHealthyPoolIsSilent(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 1}})
	logger, pooled := newLogger()
	p, err := pool.New(tr, pool.Config{MaxWorkers: 2, MaxCheckouts: 3, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		must(echo.Call(proctest.Limited(t), p, "hello"))(t)
	}
	p.Close()
	tr.Close()
	closed(t, "Done", tr.Done())
	for _, r := range append(tr.logs.List(), pooled.List()...) {
		if r.level > hclog.Debug {
			t.Errorf("%v", r)
		}
	}
}

// What a failing worker leaves in the log is above debug level, with its cause.
func TestWorkersDeathIsLogged(t *testing.T) {
	t.Parallel()
	tr, died := end(t, "said")
	r := tr.logs.Wait(t, "its end", func(r record) bool { return r.msg == "worker ended" && r.level == hclog.Error })
	if r.args["pid"] != strconv.Itoa(died.Pid) || !strings.Contains(r.args["how"], "exit code 4") {
		t.Errorf("%+v", r)
	}
}

func init() {
	apps["piped"] = func() { // an app that ends while its worker works
		held := hold(appTree(forkserver.Config{}, basic))
		go block.Call(context.Background(), held[0], os.Getenv("HOW"))
		if _, err := getpid.Call(context.Background(), held[1]); err != nil {
			panic(err)
		}
	}
}

// app | cat ends when the app does: workers don't hold its output.
func TestPipeOfTheAppsOutputEnds(t *testing.T) {
	t.Parallel()
	mark := proctest.NewMark()
	cmd := exec.CommandContext(proctest.Limited(t), "sh", "-c", `"$0" 2>&1 | cat`, "/proc/self/exe")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args[len(cmd.Args)-1] = self
	cmd.Env = append(os.Environ(), envApp+"=piped", "HOW=raw", envMark+"="+mark)
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "worker 1 ") {
		t.Errorf("%q, %v", out, err)
	}
	if took := time.Since(begin); took > soon {
		t.Errorf("it took %v", took)
	}
	proctest.Gone(t, mark, survival)
}
