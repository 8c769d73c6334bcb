//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
)

// chaosSoak replaces workers, one after each call, and looks what that leaves behind.
type chaosSoak struct {
	chaosConfig
	recycles int
	mark     string
	dir      string // the worker's files
	temp     string // temporary files
	server   *forkserver.Process
	pool     *pool.Pool

	begun, done, died atomic.Int64
	first             atomic.Pointer[error] // that must not be
	took              time.Duration
	before, after     chaosSoakCensus
}

// chaosSoakCensus is what there is while nothing is to do.
type chaosSoakCensus struct {
	chaosCensus
	server int // the server's descriptors
	rss    int64
}

// chaosSoakRun replaces so many workers. It reports whether nothing has grown.
func chaosSoakRun(ctx context.Context, c chaosConfig, recycles int) (clean bool, err error) {
	dir, err := os.MkdirTemp("", "bullpen-chaos")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	s := &chaosSoak{chaosConfig: c, recycles: recycles, dir: dir, temp: filepath.Join(dir, "temp"),
		mark: fmt.Sprintf("BULLPEN_CHAOS=%d-%d", os.Getpid(), time.Now().UnixNano())}
	if err := errors.Join(os.Mkdir(s.temp, 0o700), os.WriteFile(filepath.Join(dir, chaosRanFile), nil, 0o600)); err != nil {
		return false, err
	}
	defer chaosSetenv("TMPDIR", s.temp)()
	defer chaosKillMarked(s.mark)
	if s.server, err = forkserver.Start(ctx, chaosPlain, forkserver.Config{SetupData: chaosData{dir}, Env: append(os.Environ(), s.mark)}); err != nil {
		return false, err
	}
	defer s.server.Close()
	if s.pool, err = pool.New(s.server, pool.Config{MinWorkers: -1, MaxWorkers: c.Workers, MaxCheckouts: 1}); err != nil {
		return false, err
	}
	defer s.pool.Close()
	if err := s.all(ctx); err != nil {
		return false, err
	}
	rows := s.rows()
	fmt.Fprintf(c.Out, "\nbullpen chaos --recycles %d --workers %d --callers %d\n\n", recycles, c.Workers, c.Callers)
	chaosPrintRows(c.Out, rows)
	return chaosClean(rows), nil
}

// all takes a census before and after. What the first calls of a process take is no growth.
func (s *chaosSoak) all(ctx context.Context) error {
	if err := s.replace(ctx, min(s.recycles, 200)); err != nil {
		return err
	}
	s.before = s.settled(func(chaosSoakCensus) bool { return true })
	s.done.Store(0)
	s.died.Store(0)
	stop := s.progress()
	begin := time.Now()
	err := s.replace(ctx, s.recycles)
	s.took = time.Since(begin)
	stop()
	s.after = s.settled(func(c chaosSoakCensus) bool {
		return c.descriptors <= s.before.descriptors && c.goroutines <= s.before.goroutines && c.server <= s.before.server
	})
	return err
}

// replace makes so many calls, each of which costs its worker.
func (s *chaosSoak) replace(ctx context.Context, n int) error {
	s.begun.Store(0)
	var all sync.WaitGroup
	for range s.Callers {
		all.Go(func() {
			for ctx.Err() == nil {
				i := s.begun.Add(1)
				if i > int64(n) {
					return
				}
				s.call(i)
			}
		})
	}
	all.Wait()
	if err := s.first.Load(); err != nil {
		return *err
	}
	return context.Cause(ctx)
}

// call makes a call. Most workers end as they should, some by SIGKILL, and some leave children behind.
func (s *chaosSoak) call(i int64) {
	do := "answer"
	switch i % 20 {
	case 7:
		do = "kill"
	case 13:
		do = "children"
	}
	_, err := chaosCall.Call(context.Background(), s.pool, chaosOrder{Nonce: uint64(i), Do: do})
	var died *pool.WorkerDiedError
	switch {
	case do == "kill" && errors.As(err, &died):
		s.died.Add(1)
	case err != nil:
		s.first.CompareAndSwap(nil, &err)
	}
	s.done.Add(1)
}

// settled takes a census when only the server is left and ok is true, or after a while.
func (s *chaosSoak) settled(ok func(chaosSoakCensus) bool) chaosSoakCensus {
	for late := time.Now().Add(chaosLongest); ; time.Sleep(20 * time.Millisecond) {
		pid := s.server.Pid()
		c := chaosSoakCensus{takeChaosCensus(s.mark, s.temp), chaosDescriptors(pid), chaosRSS(pid)}
		if time.Now().After(late) || len(c.processes) == 1 && c.zombies == 0 && ok(c) {
			return c
		}
	}
}

// progress prints a line a second until stop is called.
func (s *chaosSoak) progress() (stop func()) {
	begin := time.Now()
	return chaosEverySecond(s.Out, func() string {
		return fmt.Sprintf("%4.0fs  %d of %d workers replaced", time.Since(begin).Seconds(), s.done.Load(), s.recycles)
	})
}

// rows makes the table.
func (s *chaosSoak) rows() []chaosRow {
	b, a := &s.before, &s.after
	same := func(name string, before, after int, note string) chaosRow {
		return chaosRow{name, fmt.Sprintf("%d → %d", before, after), after > before, note}
	}
	grown := func(name string, before, after int64) chaosRow {
		return chaosRow{name, fmt.Sprintf("%.0f → %.0f MiB", float64(before)/(1<<20), float64(after)/(1<<20)), after > before+chaosMaxGrowth, "RSS"}
	}
	return []chaosRow{
		{name: "recycles", value: fmt.Sprint(s.done.Load()),
			note: fmt.Sprintf("in %v, %d of them by SIGKILL", s.took.Round(time.Millisecond), s.died.Load())},
		same("processes", len(b.processes), len(a.processes), "the server's; before → after"),
		same("zombies", b.zombies, a.zombies, ""),
		same("descriptors", b.descriptors, a.descriptors, "the app's"),
		same("descriptors", b.server, a.server, "the server's"),
		same("goroutines", b.goroutines, a.goroutines, "the app's"),
		same("temporary files", len(b.files), len(a.files), ""),
		grown("app", b.chaosCensus.rss, a.chaosCensus.rss),
		grown("server", b.rss, a.rss),
	}
}
