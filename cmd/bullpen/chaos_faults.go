//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/bullpen-go/bullpen/pool"
)

// chaosFault is a fault that comes from outside.
type chaosFault struct {
	name   string
	weight int
	make   func(*chaosFaulter, *chaosTree)
}

// chaosFaulter makes faults, one after the other. All its choices come from its own random numbers.
type chaosFaulter struct {
	rng    *rand.Rand
	ledger *chaosLedger
	trees  []*chaosTree
	pools  map[*chaosTree]*pool.Pool // one of each tree
	faults []chaosFault
	pause  time.Duration // the mean time between faults
	dir    string
	stop   <-chan struct{}
}

// chaosWorkerFaults befall workers.
var chaosWorkerFaults = []chaosFault{
	{"worker: SIGKILL", 30, signalWorker(syscall.SIGKILL)},
	{"worker: SIGSEGV", 10, signalWorker(syscall.SIGSEGV)},
	{"worker: SIGABRT", 10, signalWorker(syscall.SIGABRT)},
	{"worker: SIGQUIT", 5, signalWorker(syscall.SIGQUIT)},
	{"worker: SIGSTOP", 10, signalWorker(syscall.SIGSTOP)},
	{"worker: endless loop", 5, signalWorker(syscall.SIGUSR1)},
	{"worker: SIGSTOP, SIGCONT", 10, pauseWorker},
	// These must do nothing.
	{"worker: SIGINT", 3, signalWorker(syscall.SIGINT)},
	{"worker: SIGTERM", 3, signalWorker(syscall.SIGTERM)},
	{"worker: SIGHUP", 3, signalWorker(syscall.SIGHUP)},
}

// chaosServerFaults befall servers.
var chaosServerFaults = []chaosFault{
	{"server: SIGKILL", 30, killServer(false)},
	{"server: SIGSTOP, SIGKILL", 10, killServer(true)},
	{"server: SIGSTOP, SIGCONT", 20, pauseServer},
	{"server: SIGINT", 3, signalServer(syscall.SIGINT)},
	{"server: SIGTERM", 3, signalServer(syscall.SIGTERM)},
}

// chaosRestarts replace servers.
var chaosRestarts = []chaosFault{{"server: restart", 10, restartServer}}

// chaosSetupFaults have some workers fail to set up for a while.
var chaosSetupFaults = []chaosFault{{"setup: fails", 5, failSetups("fail")}, {"setup: exits", 3, failSetups("exit")},
	{"setup: panics", 2, failSetups("panic")}, {"setup: fails for some", 10, failSetups("some")}}

// run makes faults until stop is closed.
func (f *chaosFaulter) run() {
	total := 0
	for _, x := range f.faults {
		total += x.weight
	}
	for total > 0 {
		if !f.sleep(time.Duration(f.rng.ExpFloat64() * float64(f.pause))) {
			return
		}
		n := f.rng.IntN(total)
		tree := f.trees[f.rng.IntN(len(f.trees))]
		for _, x := range f.faults {
			if n -= x.weight; n < 0 {
				x.make(f, tree)
				f.ledger.fault(x.name)
				break
			}
		}
	}
}

// sleep sleeps, but not longer than until stop. It reports whether there is time left.
func (f *chaosFaulter) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-f.stop:
		return false
	}
}

// between makes up a time up to max.
func (f *chaosFaulter) between(max time.Duration) time.Duration {
	return time.Duration(f.rng.Int64N(int64(max)))
}

// pick returns a worker of the tree's.
func (f *chaosFaulter) pick(t *chaosTree) (*chaosProcess, bool) {
	pid := t.worker(f.rng)
	if pid == 0 {
		return nil, false
	}
	p, ok := chaosFind(pid, t.mark)
	if !ok {
		t.gone(pid)
		return nil, false
	}
	return p, true
}

func signalWorker(sig syscall.Signal) func(*chaosFaulter, *chaosTree) {
	return func(f *chaosFaulter, t *chaosTree) {
		p, ok := f.pick(t)
		if !ok {
			return
		}
		defer p.close()
		if t.byPath && sig == syscall.SIGSTOP { // while it is idle nobody can tell: its server doesn't see its client go
			sig = syscall.SIGKILL
		}
		switch sig {
		case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP: // before the program's own code runs, they end it
			if t.isReady(p.id.Pid) {
				break
			}
			fallthrough
		default:
			f.ledger.harm(p.id)
		}
		p.signal(sig)
	}
}

// pauseWorker stops a worker for a moment, which harms nobody who is patient.
func pauseWorker(f *chaosFaulter, t *chaosTree) {
	d := f.between(300 * time.Millisecond)
	p, ok := f.pick(t)
	if !ok {
		return
	}
	defer p.close()
	f.ledger.harm(p.id)
	p.signal(syscall.SIGSTOP)
	f.sleep(d)
	p.signal(syscall.SIGCONT)
}

func signalServer(sig syscall.Signal) func(*chaosFaulter, *chaosTree) {
	return func(f *chaosFaulter, t *chaosTree) {
		if p, ok := chaosFind(t.Pid(), t.mark); ok {
			p.signal(sig)
			p.close()
		}
	}
}

func pauseServer(f *chaosFaulter, t *chaosTree) {
	d := f.between(500 * time.Millisecond)
	if p, ok := chaosFind(t.Pid(), t.mark); ok {
		p.signal(syscall.SIGSTOP)
		f.sleep(d)
		p.signal(syscall.SIGCONT)
		p.close()
	}
}

// killServer kills a server, and waits until calls are served again.
func killServer(stopped bool) func(*chaosFaulter, *chaosTree) {
	return func(f *chaosFaulter, t *chaosTree) {
		d := f.between(300 * time.Millisecond)
		pid := t.Pid()
		p, ok := chaosFind(pid, t.mark)
		if !ok {
			return
		}
		defer p.close()
		if stopped {
			p.signal(syscall.SIGSTOP)
			f.sleep(d)
		}
		p.signal(syscall.SIGKILL)
		f.served(t, pid)
	}
}

// served waits until the tree has served a call by another server than the one that was killed now, and notes how long
// that took.
func (f *chaosFaulter) served(t *chaosTree, killed int) {
	begin := time.Now()
	for time.Since(begin) < chaosLongest {
		co, err := f.pools[t].Checkout(context.Background())
		if err == nil {
			o := &chaosOrder{Nonce: f.ledger.nonce(), Do: "answer"}
			answer, err := chaosCall.Call(context.Background(), co, *o)
			co.Release()
			now := time.Now()
			f.ledger.settle(&chaosResult{order: o, answer: answer, err: err, deadline: now, end: now})
			if pid := t.Pid(); err == nil && pid != 0 && pid != killed {
				f.ledger.healed(time.Since(begin))
				return
			}
		}
		if !f.sleep(5 * time.Millisecond) {
			return
		}
	}
	f.ledger.broken("the server of %s was killed, and no call was served for %v after it", t.name, chaosLongest)
}

// chaosLongest bounds waits that should not take long.
const chaosLongest = 20 * time.Second

func restartServer(f *chaosFaulter, t *chaosTree) {
	ctx, cancel := context.WithTimeout(context.Background(), chaosLongest)
	defer cancel()
	if err := t.Restart(ctx); err != nil {
		f.ledger.broken("Restart of %s: %v", t.name, err)
	}
}

// failSetups has Setup hooks do as named, for a while. It is for trees whose service has one.
func failSetups(what string) func(*chaosFaulter, *chaosTree) {
	return func(f *chaosFaulter, _ *chaosTree) {
		d := f.between(500 * time.Millisecond)
		if err := chaosWriteSetup(f.dir, what); err != nil {
			f.ledger.broken("%v", err)
		}
		f.sleep(d)
		if err := chaosWriteSetup(f.dir, ""); err != nil {
			f.ledger.broken("%v", err)
		}
	}
}
