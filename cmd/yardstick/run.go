package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
)

// run measures what the options ask for, and reports to out. What it does meanwhile is shown on progress.
func run(ctx context.Context, o options, out, progress io.Writer) error {
	dir, err := os.MkdirTemp("", "yardstick-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p := &plan{duration: o.duration, quick: o.quick, scale: o.scale}
	p.slim = sync.OnceValues(func() (string, error) { return buildSlim(ctx, dir) })
	if p.interpreters, err = findInterpreters(dir); err != nil {
		return err
	}
	all := wanted(p.scenarios(), o)
	if len(all) == 0 {
		return fmt.Errorf("nothing matches --only; --help lists the scenarios")
	}
	r := newResults()
	measureAll(ctx, all, o.rounds, r, newMeter(progress, all, o.rounds))
	return report(o, all, r, out)
}

// report prints or writes what was found.
func report(o options, all []scenario, r *results, out io.Writer) error {
	if o.svg != "" {
		if err := os.WriteFile(o.svg, []byte(plot(r)), 0o644); err != nil {
			return err
		}
	}
	if o.json {
		return writeJSON(out, o, all, r)
	}
	fmt.Fprintf(out, "%s, %d processors, %s; medians of %d rounds; load average %s\n", machine(), runtime.NumCPU(), runtime.Version(), o.rounds, busyness())
	writeReport(out, all, r)
	return nil
}

// wanted returns the scenarios and steps that --only matches.
func wanted(all []scenario, o options) (some []scenario) {
	for _, s := range all {
		s.steps = slices.DeleteFunc(s.steps, func(st step) bool { return !o.only.MatchString(s.name + "/" + st.contender) })
		if len(s.steps) > 0 {
			some = append(some, s)
		}
	}
	return some
}

// measureAll measures one scenario after the other, until ctx ends.
func measureAll(ctx context.Context, all []scenario, rounds int, r *results, m *meter) {
	defer m.done()
	for _, s := range all {
		n := rounds
		if s.rounds > 0 {
			n = min(n, s.rounds)
		}
		for round := range n {
			measureRound(ctx, s, round, r, m)
		}
	}
}

// measureRound measures all steps of a scenario once. Every second round goes backwards. All rounds of a scenario follow one
// another, because some leave traces in this process: after 30,000 goroutines each garbage collection takes 7 ms.
func measureRound(ctx context.Context, s scenario, round int, r *results, m *meter) {
	steps := slices.Clone(s.steps)
	if round%2 == 1 && !s.ordered {
		slices.Reverse(steps)
	}
	for _, st := range steps {
		if ctx.Err() != nil {
			return
		}
		m.begin(round, s, st)
		runtime.GC() // what the step before has left
		v, err := st.run(ctx)
		if ctx.Err() != nil {
			return
		}
		r.add(key{s.name, st.contender}, round, v, err)
		m.end(s, v, err)
	}
}

// buildSlim builds the slim program.
func buildSlim(ctx context.Context, dir string) (string, error) {
	_, file, _, _ := runtime.Caller(0)
	path := filepath.Join(dir, "slim")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./internal/slim")
	cmd.Dir = filepath.Dir(file)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the slim program in %s: %w: %s", cmd.Dir, err, out)
	}
	return path, nil
}
