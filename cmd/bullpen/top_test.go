//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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

// topped is the service of the app that these tests look at.
var (
	topped = server.NewService("topped", server.Hooks{})

	toppedEcho = server.Handle(topped, "echo", func(_ context.Context, s string) (string, error) { return s, nil })
	toppedFail = server.Handle(topped, "fail", func(context.Context, string) (string, error) { return "", fmt.Errorf("no") })
	toppedHold = server.Handle(topped, "hold \x1b[7m日本", func(ctx context.Context, _ string) (string, error) {
		fmt.Println("holding")
		<-ctx.Done()
		return "", ctx.Err()
	})
)

func init() { testApps["topped"] = toppedApp }

// toppedApp is the app: two workers at most. One holds, the other is idle but checked out, and somebody waits for it until
// a line comes on standard input. What happens then is printed: the pids of the workers that it is, in turn.
func toppedApp() {
	ctx := context.Background()
	holding := make(chan struct{}, 1)
	srv, err := forkserver.Start(ctx, topped, forkserver.Config{Listen: []string{os.Getenv("TOPPED_PATH")},
		Limits: server.Limits{Standby: 1}, Logger: commandLogger(&writerFunc{func(b []byte) {
			if strings.Contains(string(b), "holding") {
				select {
				case holding <- struct{}{}:
				default:
				}
			}
		}}, hclog.Info)})
	check(err)
	p, err := pool.New(srv, pool.Config{Name: "the pool", MaxWorkers: 2, MinWorkers: -1, ReuseAfterError: true})
	check(err)
	co, err := p.Checkout(ctx)
	check(err)
	toppedEcho.Call(ctx, co, strings.Repeat("x", 10000))
	toppedFail.Call(ctx, co, "")
	other, err := p.With(pool.CheckoutConfig{Timeout: -1}).Checkout(ctx)
	check(err)
	held := toppedHold.Go(ctx, other, "")
	<-holding
	third := make(chan *pool.Checkout)
	go func() {
		c, err := p.With(pool.CheckoutConfig{Timeout: -1}).Checkout(ctx)
		check(err)
		third <- c
	}()
	for p.Stat().Waiting == 0 {
		time.Sleep(time.Millisecond) // nobody tells
	}
	fmt.Println("ready", co.Pid(), other.Pid())
	go func() {
		_, err := held.Wait()
		fmt.Println("held:", err)
	}()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		co.Release()
		co = <-third
		fmt.Println("released", co.Pid())
		go func() {
			next, err := p.Checkout(ctx)
			check(err)
			third <- next
		}()
	}
}

type writerFunc struct{ f func([]byte) }

func (w *writerFunc) Write(b []byte) (int, error) { w.f(b); return len(b), nil }

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// toppedRun is a run of that app.
type toppedRun struct {
	*exec.Cmd
	in         io.Writer
	out        *bufio.Scanner
	path       string // that it listens on
	idle, held int    // the workers' pids
}

func startTopped(t *testing.T) *toppedRun {
	t.Helper()
	a := &toppedRun{Cmd: exec.Command("/proc/self/exe"), path: filepath.Join(t.TempDir(), "s")}
	a.Env = append(os.Environ(), testAppEnv+"=topped", "TOPPED_PATH="+a.path)
	in, err := a.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := a.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Process.Kill(); a.Wait() })
	late := time.AfterFunc(patience, func() { a.Process.Kill() })
	t.Cleanup(func() { late.Stop() })
	a.in, a.out = in, bufio.NewScanner(out)
	if _, err := fmt.Sscanf(a.says(t, "ready"), "ready %d %d", &a.idle, &a.held); err != nil {
		t.Fatal(err)
	}
	return a
}

// says waits for a line that begins so.
func (a *toppedRun) says(t *testing.T, begin string) string {
	t.Helper()
	var all []string
	for a.out.Scan() {
		if strings.HasPrefix(a.out.Text(), begin) {
			return a.out.Text()
		}
		all = append(all, a.out.Text())
	}
	t.Fatalf("the app doesn't say %q, but %q", begin, all)
	return ""
}

func (a *toppedRun) pid() string { return strconv.Itoa(a.Process.Pid) }

// report returns what top --json says of the app.
func (a *toppedRun) report(t *testing.T) report {
	t.Helper()
	o := runs(t, "", "top", "--json", a.pid())
	var r report
	if err := json.Unmarshal([]byte(o.out), &r); o.code != 0 || err != nil {
		t.Fatalf("%v: %+v", err, o)
	}
	return r
}

// worker returns the worker with that pid.
func (r report) worker(pid int) workerReport {
	for _, s := range r.Servers {
		for _, w := range s.Workers {
			if w.Pid == pid {
				return w
			}
		}
	}
	return workerReport{}
}

func TestTopJSON(t *testing.T) {
	t.Parallel()
	a := startTopped(t)
	r := a.report(t)
	if r.Pid != a.Process.Pid || len(r.Servers) != 1 || len(r.Pools) != 1 {
		t.Fatalf("%+v", r)
	}
	p := r.Pools[0]
	if p.Name != "the pool" || p.MaxWorkers != 2 || p.Total != 2 || p.Idle != 0 || p.Waiting != 1 || p.Checkouts != 2 || p.Waited < 1 {
		t.Errorf("%+v", p)
	}
	if s := r.Servers[0]; s.Service != "topped" || s.Pid == 0 || s.Uptime <= 0 {
		t.Errorf("%+v", s)
	}
	if w := r.worker(a.idle); w.State != "idle" || w.Calls != 2 || w.Errors != 1 || w.Client != "app" || w.BytesIn < 10000 || w.RSS < 1<<20 || w.Method != "" {
		t.Errorf("%+v", w)
	}
	if w := r.worker(a.held); w.State != "running" || w.Method != "hold ?[7m日本" || w.For <= 0 || w.Calls != 0 {
		t.Errorf("%+v", w)
	}
	if !slices.ContainsFunc(r.Servers[0].Workers, func(w workerReport) bool { return w.Client == "none" }) {
		t.Errorf("no standby: %+v", r.Servers[0].Workers)
	}
}

func TestTopOnceByPath(t *testing.T) {
	t.Parallel()
	a := startTopped(t)
	o := runs(t, "", "top", "--once", a.path)
	if o.code != 0 || o.err != "" {
		t.Fatalf("%+v", o)
	}
	for _, want := range []string{
		fmt.Sprintf(`(?m)^app %d `, a.Process.Pid),
		`(?m)^pool the pool  workers 2/2, 2 busy, 0 connecting  queue 1$`,
		`(?m)^server \d+  topped  up `,
		fmt.Sprintf(`(?m)^ +\d+ +%d .*\bidle  +- +\S+ +1 +\d+\.\d +\d+\.\dM$`, a.idle),
		fmt.Sprintf(`(?m)^ +\d+ +%d .*\brunning +hold \?\[7m日本 +\d\S*s `, a.held),
	} {
		if !regexp.MustCompile(want).MatchString(o.out) {
			t.Errorf("no line %s in\n%s", want, o.out)
		}
	}
	if strings.Contains(o.out, "\x1b") {
		t.Errorf("%q", o.out)
	}
}

func TestTopKill(t *testing.T) {
	t.Parallel()
	a := startTopped(t)
	number := strconv.Itoa(a.report(t).worker(a.held).Number)
	runs(t, "", "top", "--kill", number, a.pid()).prints(t, "")
	if line := a.says(t, "held:"); !strings.Contains(line, "signal 9") {
		t.Error(line)
	}
	runs(t, "", "top", "--kill", number, a.pid()).fails(t, "has no worker "+number)
}

// The worker is checked out. It is replaced when it is released, and its call fails nobody.
func TestTopRetire(t *testing.T) {
	t.Parallel()
	a := startTopped(t)
	r := a.report(t)
	runs(t, "", "top", "--retire", strconv.Itoa(r.worker(a.idle).Number), a.pid()).prints(t, "")
	standby := r.Servers[0].Workers[slices.IndexFunc(r.Servers[0].Workers, func(w workerReport) bool { return w.Client == "none" })]
	runs(t, "", "top", "--retire", strconv.Itoa(standby.Number), a.pid()).prints(t, "")
	for a.report(t).worker(standby.Pid).Pid != 0 { // it has nothing to do, so it ends; then the one before was told too
		time.Sleep(10 * time.Millisecond)
	}
	if w := a.report(t).worker(a.idle); w.State != "idle" {
		t.Errorf("a worker that is checked out is %+v", w)
	}
	for pid := a.idle; pid == a.idle; { // until the pool has heard of it
		fmt.Fprintln(a.in)
		if _, err := fmt.Sscanf(a.says(t, "released"), "released %d", &pid); err != nil {
			t.Fatal(err)
		}
	}
	if w := a.report(t).worker(a.held); w.State != "running" {
		t.Errorf("the other worker is %+v", w)
	}
}

// A client in another program has the worker, and only that can give it back.
func TestTopOfServe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	serve := open(t, append([]string{"serve", "--listen", path, "--"}, echoWorker...)...)
	serve.wait("listens on")
	p, err := pool.New(pool.Unix(path), pool.Config{MinWorkers: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var reply string
	if err := p.Call(t.Context(), &reply, "echo", "x"); err != nil {
		t.Fatal(err)
	}
	var r report
	o := runs(t, "", "top", "--json", path)
	if err := json.Unmarshal([]byte(o.out), &r); err != nil || len(r.Pools) != 0 || len(r.Servers) != 1 || len(r.Servers[0].Workers) != 1 {
		t.Fatalf("%v: %+v", err, o)
	}
	w := r.Servers[0].Workers[0]
	if w.Client != "other program" || w.Calls != 1 || r.Pid != serve.Process.Pid {
		t.Errorf("%+v", r)
	}
	runs(t, "", "top", "--retire", strconv.Itoa(w.Number), path).fails(t, "its client is another program")
	serve.interrupt()
	serve.ends(0)
}

func TestTopOfWrongProcess(t *testing.T) {
	t.Parallel()
	other := exec.Command("sleep", "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer other.Process.Kill()
	runs(t, "", "top", "--once", strconv.Itoa(other.Process.Pid)).fails(t, "neither a server nor a pool")
	runs(t, "", "top", "--once", "999999999").fails(t, "there is no process 999999999")
	runs(t, "", "top", "--once", filepath.Join(t.TempDir(), "missing")).fails(t, "no such file")
	runs(t, "", "top", "--once", "--json", "1").fails(t, "none of the others can be")
}

// Nobody but the app's own user may look, or kill.
func TestTopOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can start a program as another user")
	}
	a := startTopped(t)
	number := strconv.Itoa(a.report(t).worker(a.held).Number)
	for _, args := range [][]string{{"top", "--once", a.pid()}, {"top", "--kill", number, a.pid()}, {"top", "--retire", number, a.pid()}} {
		c := exec.Command(binary, args...)
		proctest.AsOrdinaryUser(c)
		c.Dir = "/"
		if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "its own user only") {
			t.Errorf("%v: %v, %s", args, err, out)
		}
	}
	if a.report(t).worker(a.held).State != "running" {
		t.Error("the worker was killed")
	}
}
