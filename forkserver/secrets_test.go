//go:build linux

package forkserver_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

// What goes to workers is seen by nobody else: not by ps, which shows arguments to all users, and not by who reads logs,
// however bad things go.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	const secret = "geheimnis"
	tr := start(t, hooked, forkserver.Config{SetupData: setupData{Mode: "none " + secret}, Limits: server.Limits{Standby: 1}})
	logger, pooled := newLogger()
	p := newPool(t, tr, pool.Config{MinWorkers: -1, Logger: logger})
	co := checkout(t, p)
	if d := must(hookedData.Call(proctest.Limited(t), co))(t); !strings.Contains(d.Mode, secret) {
		t.Fatalf("the worker was told %+v", d)
	}
	var ignored string
	p.Call(proctest.Limited(t), &ignored, "no such method", secret)
	p.With(pool.CheckoutConfig{Meta: map[string]string{"token": secret}}).Call(proctest.Limited(t), &ignored, "wrong data", secret)

	var all []proctest.Proc
	proctest.Eventually(t, "the server, the worker and a standby are there", func() bool {
		all = proctest.InTree(tr.mark)
		return len(all) >= 3
	})
	for _, proc := range all {
		for _, file := range []string{"cmdline", "environ", "comm"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", proc.Pid, file))
			if err == nil && bytes.Contains(text, []byte(secret)) {
				t.Errorf("in %s of %s: %q", file, proc.Title, text)
			}
		}
	}
	kill(co.Pid(), 9)
	p.Close()
	tr.Close()
	closed(t, "Done", tr.Done())
	for _, r := range append(tr.logs.List(), pooled.List()...) {
		if text := fmt.Sprint(r.msg, r.args); strings.Contains(text, secret) {
			t.Errorf("in the log: %s", text)
		}
	}
	if text := fmt.Sprint(tr.events.List()); strings.Contains(text, secret) {
		t.Errorf("in the events: %s", text)
	}
}

// A worker that crashes, and wants to leave a core, leaves none.
func TestNoCoreIsDumped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tr := start(t, basic, forkserver.Config{Dir: dir, Env: append(os.Environ(), "GOTRACEBACK=crash")})
	p := newPool(t, tr, poolConfig)
	for _, how := range []string{"panic", "SIGABRT"} {
		co := checkout(t, p)
		// The hard limit is down, too: even root's worker has to be told to raise it.
		if got := must(shell.Call(proctest.Limited(t), co, "ulimit -Hc"))(t); got != "0" && got != "1" {
			t.Errorf("a core may have %s blocks", got)
		}
		die.Call(proctest.Limited(t), co, how)
		e := tr.events.Wait(t, "its end", func(e server.Event) bool { return e.Type == server.WorkerEnded && e.Pid == co.Pid() })
		if e.Exit.SignalName == "" {
			t.Errorf("%s: it did not end by a signal, which would leave a core: %v", how, e.Exit)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) > 0 {
		t.Errorf("they have left %v", files)
	}
}
