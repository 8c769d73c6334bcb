//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/server"
)

// chaosConfig says how a run goes.
type chaosConfig struct {
	Duration time.Duration
	Workers  int
	Callers  int
	Seed     uint64

	SharedMemory int // of pools
	Out          io.Writer
}

// chaosState is a run.
type chaosState struct {
	chaosConfig
	mark   string // in the environment of all processes that are started
	dir    string // workers' files
	temp   string // temporary files
	ledger *chaosLedger
	trees  []*chaosTree
	report *chaosReport
}

// chaosRun makes a run. The error says why it did not come to its end; what it has found is in the report, which it prints.
func chaosRun(ctx context.Context, c chaosConfig) (*chaosReport, error) {
	dir, err := os.MkdirTemp("", "bullpen-chaos")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &chaosState{chaosConfig: c, dir: dir, temp: filepath.Join(dir, "temp"),
		mark: fmt.Sprintf("BULLPEN_CHAOS=%d-%d", os.Getpid(), time.Now().UnixNano())}
	if err := os.Mkdir(r.temp, 0o700); err != nil {
		return nil, err
	}
	defer chaosSetenv("TMPDIR", r.temp)()
	if r.ledger, err = newChaosLedger(filepath.Join(dir, chaosRanFile)); err != nil {
		return nil, err
	}
	defer r.ledger.ran.Close()
	if err := chaosWriteSetup(dir, ""); err != nil {
		return nil, err
	}
	r.report = newChaosReport(c, r.ledger)
	defer chaosKillMarked(r.mark)
	err = r.all(ctx)
	r.report.print()
	return r.report, err
}

func chaosSetenv(name, value string) (restore func()) {
	before, had := os.LookupEnv(name)
	os.Setenv(name, value)
	return func() {
		if had {
			os.Setenv(name, before)
		} else {
			os.Unsetenv(name)
		}
	}
}

// chaosWriteSetup tells Setup hooks what to do from now on.
func chaosWriteSetup(dir, what string) error {
	path := filepath.Join(dir, chaosSetupFile)
	if err := os.WriteFile(path+".new", []byte(what), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// all is the run: census, phases with calls, app deaths, exhaustion, census.
func (r *chaosState) all(ctx context.Context) error {
	// What is made once in a process's life is made before the first census.
	if err := r.startTrees(ctx); err != nil {
		return err
	}
	if err := r.closeTrees(); err != nil {
		return err
	}
	r.report.before = settledChaosCensus(r.mark, r.temp, chaosCensus{descriptors: 1e6, goroutines: 1e6})
	if err := r.startTrees(ctx); err != nil {
		return err
	}
	stop := r.report.progress()
	err := r.phases(ctx)
	err = errors.Join(err, r.closeTrees())
	if err == nil {
		err = r.appDeaths(ctx)
	}
	if err == nil {
		err = r.exhaustion(ctx)
	}
	stop()
	r.report.after = settledChaosCensus(r.mark, r.temp, r.report.before)
	return errors.Join(err, r.ledger.audit())
}

// startTrees starts the servers.
func (r *chaosState) startTrees(ctx context.Context) error {
	r.trees = nil
	limits := server.Limits{HungTimeout: time.Second, SetupTimeout: 3 * time.Second, Standby: chaosStandby, MaxMessage: chaosMaxMessage}
	for _, t := range []struct {
		name   string
		svc    *server.Service
		listen []string
	}{
		{"plain", chaosPlain, nil},
		{"hooked", chaosHooked, nil},
		{"by path", chaosPlain, []string{"unix:" + r.socket()}},
	} {
		tree := &chaosTree{name: t.name, mark: r.mark, byPath: t.listen != nil, workers: map[int]bool{}}
		p, err := forkserver.Start(ctx, t.svc, forkserver.Config{Limits: limits, SetupData: chaosData{r.dir}, Listen: t.listen,
			Env: append(os.Environ(), r.mark), OnEvent: tree.event})
		if err != nil {
			return errors.Join(err, r.closeTrees())
		}
		tree.Process = p
		r.trees = append(r.trees, tree)
	}
	return nil
}

// socket is the path of the server that listens. It lies where nothing may be left.
func (r *chaosState) socket() string { return filepath.Join(r.temp, "chaos.sock") }

// closeTrees ends the servers.
func (r *chaosState) closeTrees() error {
	var errs []error
	for _, t := range r.trees {
		begin := time.Now()
		if err := t.Close(); err != nil {
			errs = append(errs, fmt.Errorf("closing the server: %w", err))
		}
		r.report.closed(time.Since(begin))
		if err := t.Err(); err != nil {
			r.ledger.broken("the server of %s was given up: %v", t.name, err)
		}
	}
	r.trees = nil
	return errors.Join(errs...)
}
