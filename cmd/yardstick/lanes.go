package main

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"time"
)

// Scenarios of shared memory beside the socket. Names of those that goals are about.
const idleLanes = "idle-after-traffic"

func busyName(work time.Duration, callers int) string {
	return fmt.Sprintf("handler-%v-%d", work, callers)
}

func hogsName(callers int) string { return fmt.Sprintf("cores-busy-%d", callers) }

var (
	busyWork    = []time.Duration{20 * time.Microsecond, 200 * time.Microsecond}
	busyCallers = []int{1, 8, 64}
	hogsCallers = []int{1, 8}
)

// lanes compare bullpen with itself, with shared memory and without.
func (p *plan) lanes() (all []scenario) {
	both := []contender{
		{name: nameBullpen, kind: ours, start: startBullpen},
		{name: nameSocket, kind: ours, start: startSocket},
	}
	add := func(name, title string, l load) {
		l.duration = p.duration
		s := scenario{name: name, title: title, metrics: []metric{rate, p50, p99, cpu}}
		for _, c := range both {
			s.steps = append(s.steps, step{contender: c.name, kind: c.kind,
				run: func(ctx context.Context) (values, error) { return c.measure(ctx, l) }})
		}
		all = append(all, s)
	}
	for _, work := range busyWork {
		for _, n := range busyCallers {
			add(busyName(work, n), fmt.Sprintf("Handlers that take %v of processor time, callers: %d", work, n),
				load{workers: min(n, 8), callers: n, held: n == 1, work: work})
		}
	}
	for _, n := range hogsCallers {
		add(hogsName(n), fmt.Sprintf("All cores busy with something else, callers: %d", n),
			load{workers: n, callers: n, held: n == 1, hogs: runtime.NumCPU()})
	}
	idle := scenario{name: idleLanes, title: "8 workers that have just been busy, idle", metrics: []metric{idleCPU, wakeups}, plain: true}
	for _, c := range both {
		idle.steps = append(idle.steps, step{contender: c.name, kind: c.kind,
			run: func(ctx context.Context) (values, error) { return p.idleAfter(c) }})
	}
	return append(all, idle)
}

// idleAfter measures workers that have nothing to do after traffic.
func (p *plan) idleAfter(c contender) (values, error) {
	f, err := c.start(8)
	if err != nil {
		return nil, err
	}
	defer f.close()
	if _, err := drive(f, load{workers: 8, callers: 8, duration: p.duration}); err != nil {
		return nil, err
	}
	return p.idle(f.pids())
}

// startHogs starts processes that do nothing but take a core each.
func startHogs(n int) (stop func(), err error) {
	var all []*exec.Cmd
	stop = func() {
		for _, c := range all {
			c.Process.Kill()
			c.Wait()
		}
	}
	for range n {
		c := exec.Command("sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			stop()
			return nil, fmt.Errorf("a hog: %w", err)
		}
		all = append(all, c)
	}
	return stop, nil
}
