//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// chaosSurvival is how long after its app's death a process may live.
const chaosSurvival = time.Second

// chaosTarget is an app of its own, from outside.
type chaosTarget struct {
	*exec.Cmd
	state  string
	mark   string
	dir    string
	out    *bufio.Reader
	stderr bytes.Buffer
}

var chaosTargets atomic.Int64

// startApp starts an app that does what chaosVictim knows under the name.
func (r *chaosState) startApp(state string, settings ...string) (*chaosTarget, error) {
	a := &chaosTarget{Cmd: exec.Command("/proc/self/exe", "chaos"), state: state}
	n := chaosTargets.Add(1)
	id := fmt.Sprintf("%d-%d-%d", os.Getpid(), time.Now().UnixNano(), n)
	a.mark = chaosMarkEnv + "=" + id
	a.dir = filepath.Join(r.dir, fmt.Sprintf("app-%d", n))
	if err := os.Mkdir(a.dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(a.dir, chaosRanFile), nil, 0o600); err != nil {
		return nil, err
	}
	if err := chaosWriteSetup(a.dir, ""); err != nil {
		return nil, err
	}
	a.Env = append(os.Environ(), r.mark, a.mark, chaosVictimEnv+"="+state, chaosDirEnv+"="+a.dir)
	a.Env = append(a.Env, settings...)
	a.Stderr = &a.stderr
	out, err := a.StdoutPipe()
	if err != nil {
		return nil, err
	}
	a.out = bufio.NewReader(out)
	a.WaitDelay = chaosLongest
	return a, a.Start()
}

// end reaps the app.
func (a *chaosTarget) end() {
	io.Copy(io.Discard, a.out)
	a.Wait()
	os.RemoveAll(a.dir)
}

// appDeaths kills apps in all states, some at a time.
func (r *chaosState) appDeaths(ctx context.Context) error {
	r.report.phase("app deaths")
	until := time.Now().Add(time.Duration(chaosAppsShare * float64(r.Duration)))
	jobs := make(chan string)
	var all sync.WaitGroup
	for i := range 3 {
		rng := r.random("killer", i)
		all.Go(func() {
			for state := range jobs {
				r.appDeath(state, rng)
			}
		})
	}
	names := chaosVictimNames()
	rng := r.random("apps")
	for first := true; first || time.Now().Before(until); first = false { // each state once at least
		for _, i := range rng.Perm(len(names)) {
			if ctx.Err() == nil && (first || time.Now().Before(until)) {
				jobs <- names[i]
			}
		}
	}
	close(jobs)
	all.Wait()
	return context.Cause(ctx)
}

// appDeath kills one app, and looks for survivors.
func (r *chaosState) appDeath(state string, rng *rand.Rand) {
	wait := time.Duration(rng.Int64N(int64(30 * time.Millisecond)))
	stopFirst := rng.IntN(4) == 0
	a, err := r.startApp(state)
	if err != nil {
		r.ledger.broken("the app %q: %v", state, err)
		return
	}
	defer a.end()
	defer chaosKillMarked(a.mark)
	late := time.AfterFunc(chaosLongest, func() { a.Process.Kill() })
	line, err := a.out.ReadString('\n')
	if !late.Stop() || err != nil || line != "ready\n" {
		a.Process.Kill()
		r.ledger.broken("the app %q did not get there: it said %q, %v: %s", state, line, err, &a.stderr)
		return
	}
	time.Sleep(wait)
	if stopFirst {
		a.Process.Signal(syscall.SIGSTOP)
	}
	a.Process.Kill()
	r.ledger.fault("app: SIGKILL, " + state)
	r.survivors(a)
}

// survivors counts what is left of a killed app after chaosSurvival, and notes when the last process had gone.
func (r *chaosState) survivors(a *chaosTarget) {
	killed := time.Now()
	for {
		left := chaosMarked(a.mark)
		delete(left, a.Process.Pid)
		took := time.Since(killed)
		if len(left) == 0 {
			r.report.outlived(took)
			return
		}
		if took > chaosSurvival {
			r.ledger.survived(a.state, left)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}
