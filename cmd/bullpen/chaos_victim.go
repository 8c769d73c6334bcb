//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

// This file is what chaos runs in apps of their own, which it kills.

// The environment of such an app.
const (
	chaosVictimEnv = "BULLPEN_CHAOS_VICTIM" // what it is to do: one of chaosVictims or chaosExhaustions
	chaosDirEnv    = "BULLPEN_CHAOS_DIR"
	chaosTimeEnv   = "BULLPEN_CHAOS_TIME" // how long an exhaustion lasts
	chaosMarkEnv   = "BULLPEN_CHAOS_APP"  // the mark of this app's processes
)

// chaosApp is such an app, in itself.
type chaosApp struct {
	dir     string
	mark    string
	service *server.Service
	server  *forkserver.Process
	pool    *pool.Pool
}

// chaosVictim does what the environment says, if it does, and does not return then.
func chaosVictim() {
	state := os.Getenv(chaosVictimEnv)
	if state == "" {
		return
	}
	a := &chaosApp{dir: os.Getenv(chaosDirEnv), mark: chaosMarkEnv + "=" + os.Getenv(chaosMarkEnv), service: chaosPlain}
	do := chaosVictims[state]
	if x, ok := chaosExhaustions[state]; ok {
		do = x.run
	}
	if do == nil {
		fmt.Fprintf(os.Stderr, "no app %q\n", state)
		os.Exit(2)
	}
	if err := do(a); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if _, ok := chaosExhaustions[state]; ok {
		os.Exit(0)
	}
	fmt.Println("ready")
	time.Sleep(time.Hour)
}

// start starts the app's server and pool.
func (a *chaosApp) start(c forkserver.Config, p pool.Config) (err error) {
	c.SetupData = chaosData{a.dir}
	if a.server, err = forkserver.Start(context.Background(), a.service, c); err != nil {
		return err
	}
	a.pool, err = pool.New(a.server, p)
	return err
}

// serve starts the app with a standby and three workers, and makes a call.
func (a *chaosApp) serve() error {
	c := forkserver.Config{Limits: server.Limits{Standby: 1}}
	if err := a.start(c, pool.Config{MinWorkers: 3, MaxWorkers: 3}); err != nil {
		return err
	}
	return a.answer("answer")
}

// answer makes a call that is answered.
func (a *chaosApp) answer(do string) error {
	_, err := chaosCall.Call(context.Background(), a.pool, chaosOrder{Do: do, For: time.Hour})
	return err
}

// begin makes a call, and returns when it runs.
func (a *chaosApp) begin(do string) error {
	ran := filepath.Join(a.dir, chaosRanFile)
	before, err := os.Stat(ran)
	if err != nil {
		return err
	}
	go a.answer(do)
	for begin := time.Now(); time.Since(begin) < chaosLongest; time.Sleep(time.Millisecond) {
		if now, err := os.Stat(ran); err == nil && now.Size() > before.Size() {
			return nil
		}
	}
	return fmt.Errorf("%q does not run", do)
}

// workers returns the pids of all workers.
func (a *chaosApp) workers() (pids []int) {
	for pid := range chaosMarked(a.mark) {
		if _, parent := chaosStat(pid); parent == a.server.Pid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// during serves, and has a call running.
func during(do string) func(*chaosApp) error {
	return func(a *chaosApp) error { return errors.Join(a.serve(), a.begin(do)) }
}

// then does more.
func then(first func(*chaosApp) error, more ...func(*chaosApp)) func(*chaosApp) error {
	return func(a *chaosApp) error {
		err := first(a)
		for _, f := range more {
			f(a)
		}
		return err
	}
}

func stopServer(a *chaosApp) { syscall.Kill(a.server.Pid(), syscall.SIGSTOP) }
func endServer(a *chaosApp)  { syscall.Kill(a.server.Pid(), syscall.SIGKILL) }

func stopWorkers(a *chaosApp) {
	for _, pid := range a.workers() {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
}

// chaosVictims bring an app into the state in which it is killed.
var chaosVictims = map[string]func(*chaosApp) error{
	"idle":                     (*chaosApp).serve,
	"mid-call":                 during("slow"),
	"deaf handler":             during("deaf"),
	"loop":                     during("loop"),
	"hard loop":                during("hard loop"),
	"server stopped":           then(during("slow"), stopServer),
	"workers stopped":          then(during("slow"), stopWorkers),
	"all stopped":              then(during("hard loop"), stopWorkers, stopServer),
	"server killed":            then(during("hard loop"), endServer),
	"mid-spawn":                (*chaosApp).spawning,
	"mid-setup":                (*chaosApp).settingUp,
	"restarting":               (*chaosApp).restarting,
	"closing":                  (*chaosApp).closing,
	"load":                     (*chaosApp).load,
	"children":                 (*chaosApp).children,
	"children, server stopped": then((*chaosApp).children, stopServer),
	"children, all stopped":    then((*chaosApp).children, stopWorkers, stopServer),
	"listening":                (*chaosApp).listening,
}

func chaosVictimNames() []string {
	var names []string
	for name := range chaosVictims {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// spawning recycles workers all the time.
func (a *chaosApp) spawning() error {
	if err := a.start(forkserver.Config{Limits: server.Limits{Standby: 2}}, pool.Config{MaxWorkers: 4, MaxCheckouts: 1}); err != nil {
		return err
	}
	for range 4 {
		go func() {
			for {
				a.answer("answer")
			}
		}()
	}
	return a.answer("answer")
}

// settingUp has workers that never get ready.
func (a *chaosApp) settingUp() error {
	a.service = chaosHooked
	if err := chaosWriteSetup(a.dir, "hang"); err != nil {
		return err
	}
	return a.start(forkserver.Config{Limits: server.Limits{Standby: 1}}, pool.Config{MinWorkers: 3, MaxWorkers: 3})
}

// restarting replaces its server all the time.
func (a *chaosApp) restarting() error {
	if err := a.serve(); err != nil {
		return err
	}
	go func() {
		for {
			a.server.Restart(context.Background())
		}
	}()
	go func() {
		for {
			a.answer("answer")
		}
	}()
	return nil
}

// closing is about to end.
func (a *chaosApp) closing() error {
	err := errors.Join(a.serve(), a.begin("hard loop"), a.begin("deaf"))
	go a.server.Close()
	return err
}

// load has all kinds of calls running.
func (a *chaosApp) load() error {
	if err := a.serve(); err != nil {
		return err
	}
	ledger, err := newChaosLedger(filepath.Join(a.dir, chaosRanFile))
	if err != nil {
		return err
	}
	for i := range 16 {
		c := &chaosCaller{rng: rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(i))), ledger: ledger, pool: a.pool,
			deeds: slices.Concat(chaosGoodDeeds, chaosBadDeeds), think: time.Millisecond}
		go c.run(nil)
	}
	return nil
}

// children has workers that have left children behind: in their process group, and out of it.
func (a *chaosApp) children() error {
	return errors.Join(a.serve(), a.answer("children"), a.begin("slow"), a.answer("children"), a.begin("hard loop"))
}

// listening has a client by path, too.
func (a *chaosApp) listening() error {
	path := filepath.Join(a.dir, fmt.Sprintf("%d.sock", os.Getpid()))
	if err := a.start(forkserver.Config{Listen: []string{"unix:" + path}}, pool.Config{}); err != nil {
		return err
	}
	p, err := pool.New(pool.Unix(path), pool.Config{})
	if err != nil {
		return err
	}
	a.pool = p
	return errors.Join(a.answer("answer"), a.begin("hard loop"))
}
