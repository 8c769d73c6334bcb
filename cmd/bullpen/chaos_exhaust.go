//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
)

// chaosExhaustion takes something away from an app for a while, in a process of its own.
type chaosExhaustion struct {
	begin, end func(*chaosApp) error
	hooked     bool
}

var chaosExhaustions = map[string]chaosExhaustion{
	"no descriptors in the app":    {begin: limitFiles(os.Getpid), end: allowFiles(os.Getpid)},
	"no descriptors in the server": {begin: limitServerFiles(limitFiles), end: limitServerFiles(allowFiles)},
	"Setup fails":                  {begin: setups("fail"), end: setups(""), hooked: true},
	"Setup exits":                  {begin: setups("exit"), end: setups(""), hooked: true},
}

// chaosSuffered is what an exhausted app tells.
type chaosSuffered struct {
	Calls, Failed, Untyped int64
	Served                 int64         // while nothing could be served
	CPU                    float64       // the app's share of one processor while it suffered
	Recovery               time.Duration // from the end of it until every caller had a call served
	Descriptors            int           // more than before, at the end
	Samples                []string
}

const (
	chaosMaxCPU      = 0.05
	chaosMaxRecovery = 2 * time.Second
)

func setups(what string) func(*chaosApp) error {
	return func(a *chaosApp) error { return chaosWriteSetup(a.dir, what) }
}

// limitFiles leaves a process no descriptor but those that it has.
func limitFiles(pid func() int) func(*chaosApp) error {
	return func(*chaosApp) error { return chaosSetFiles(pid(), func(l *unix.Rlimit) { l.Cur = 0 }) }
}

func allowFiles(pid func() int) func(*chaosApp) error {
	return func(*chaosApp) error { return chaosSetFiles(pid(), func(l *unix.Rlimit) { l.Cur = l.Max }) }
}

func chaosSetFiles(pid int, set func(*unix.Rlimit)) error {
	var now unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &now); err != nil {
		return err
	}
	set(&now)
	return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &now, nil)
}

func limitServerFiles(f func(func() int) func(*chaosApp) error) func(*chaosApp) error {
	return func(a *chaosApp) error { return f(a.server.Pid)(a) }
}

// run suffers, recovers, and tells.
func (x chaosExhaustion) run(a *chaosApp) error {
	d, err := time.ParseDuration(os.Getenv(chaosTimeEnv))
	if err != nil {
		return err
	}
	if x.hooked {
		a.service = chaosHooked
	}
	if err := a.start(forkserver.Config{}, pool.Config{MaxWorkers: 4}); err != nil {
		return err
	}
	if err := a.answer("answer"); err != nil {
		return err
	}
	s, err := a.suffer(x, d)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(s)
}

// suffer has callers call before, during and after.
func (a *chaosApp) suffer(x chaosExhaustion, d time.Duration) (*chaosSuffered, error) {
	const callers = 8
	s := &chaosSuffered{}
	var mu sync.Mutex // guards s
	var begun, over atomic.Bool
	var all, recovered sync.WaitGroup
	var stop atomic.Bool
	recovered.Add(callers)
	for range callers {
		all.Go(func() {
			healthy := false
			for !stop.Load() {
				during, after := begun.Load(), over.Load()
				_, err := chaosCall.Call(context.Background(), a.pool.With(pool.CheckoutConfig{Timeout: time.Second}), chaosOrder{Do: "answer"})
				if err == nil && after && !healthy {
					healthy = true
					recovered.Done()
				}
				mu.Lock()
				s.count(err)
				if err == nil && during && !over.Load() {
					s.Served++
				}
				mu.Unlock()
				time.Sleep(30 * time.Millisecond)
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	before := chaosDescriptors(os.Getpid())
	workers := a.workers()
	if err := x.begin(a); err != nil {
		return nil, err
	}
	for _, pid := range workers { // new ones are needed now
		syscall.Kill(pid, syscall.SIGKILL)
	}
	time.Sleep(100 * time.Millisecond)
	begun.Store(true)
	share := chaosCPU(d)
	if err := x.end(a); err != nil {
		return nil, err
	}
	over.Store(true)
	begin := time.Now()
	recovered.Wait()
	recovery := time.Since(begin)
	stop.Store(true)
	all.Wait()
	s.CPU, s.Recovery = share, recovery
	a.pool.Close()
	if err := a.server.Close(); err != nil {
		return nil, err
	}
	s.Descriptors = max(0, chaosDescriptors(os.Getpid())-before)
	return s, nil
}

func (s *chaosSuffered) count(err error) {
	s.Calls++
	if err == nil {
		return
	}
	s.Failed++
	if _, typed := chaosErrorKind(err); !typed {
		s.Untyped++
		if len(s.Samples) < 3 {
			s.Samples = append(s.Samples, fmt.Sprintf("%T: %v", err, err))
		}
	}
}

// chaosCPU returns which share of one processor this process takes during the time.
func chaosCPU(d time.Duration) float64 {
	used := func() time.Duration {
		var ru unix.Rusage
		unix.Getrusage(unix.RUSAGE_SELF, &ru)
		return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	before, begin := used(), time.Now()
	time.Sleep(d)
	return float64(used()-before) / float64(time.Since(begin))
}

// exhaustion has apps suffer, one after the other.
func (r *chaosState) exhaustion(ctx context.Context) error {
	r.report.phase("exhaustion")
	var names []string
	for name := range chaosExhaustions {
		names = append(names, name)
	}
	slices.Sort(names)
	each := time.Duration(chaosExhaustionShare * float64(r.Duration) / float64(len(names)))
	each = min(max(each, 500*time.Millisecond), 10*time.Second)
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s, err := r.exhaust(name, each)
		r.ledger.fault("app: " + name)
		if err != nil {
			r.ledger.broken("%s: %v", name, err)
			continue
		}
		r.report.suffered(name, s)
		r.ledger.suffered(name, s)
	}
	return nil
}

// exhaust has one app suffer.
func (r *chaosState) exhaust(name string, d time.Duration) (*chaosSuffered, error) {
	a, err := r.startApp(name, chaosTimeEnv+"="+d.String())
	if err != nil {
		return nil, err
	}
	defer a.end()
	defer chaosKillMarked(a.mark)
	late := time.AfterFunc(d+chaosLongest, func() { a.Process.Kill() })
	defer late.Stop()
	s := &chaosSuffered{}
	if err := json.NewDecoder(a.out).Decode(s); err != nil {
		a.Process.Kill()
		a.Wait()
		return nil, errors.Join(fmt.Errorf("it did not tell how it was: %w", err), errors.New(a.stderr.String()))
	}
	return s, nil
}

// suffered judges what an exhausted app tells.
func (l *chaosLedger) suffered(name string, s *chaosSuffered) {
	if s.CPU > chaosMaxCPU {
		l.broken("%s: the app took %.1f %% of a processor", name, 100*s.CPU)
	}
	if s.Recovery > chaosMaxRecovery {
		l.broken("%s: the app took %v to recover", name, s.Recovery.Round(time.Millisecond))
	}
	if s.Descriptors > 0 {
		l.broken("%s: %d descriptors more than before", name, s.Descriptors)
	}
	if s.Served > 0 {
		l.broken("%s: %d calls were served all the same, so nothing was tried", name, s.Served)
	}
	if s.Untyped > 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.found.untyped += s.Untyped
		for _, text := range s.Samples {
			l.sample("untyped: %s: %s", name, text)
		}
	}
}
