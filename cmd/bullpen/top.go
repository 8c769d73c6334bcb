package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bullpen-go/bullpen/internal/observe"
)

// target finds the app that is meant: by its pid, by the unix path that it listens on, or, without either, the only one that
// this user runs.
func target(args []string) (pid int, err error) {
	if len(args) > 0 {
		if pid, err := strconv.Atoi(args[0]); err == nil {
			return pid, nil
		}
		return observe.Listener(strings.TrimPrefix(args[0], "unix:"))
	}
	apps, err := observe.Find()
	switch {
	case err != nil:
		return 0, err
	case len(apps) == 0:
		return 0, errors.New("no app of yours has a server or a pool of bullpen's")
	case len(apps) > 1:
		return 0, fmt.Errorf("several apps have servers or pools: give the pid of one of them: %v", apps)
	}
	return apps[0], nil
}

// topOnce prints what the app does now.
func topOnce(out io.Writer, pid int, asJSON bool) error {
	a, err := observe.Look(pid)
	if err != nil {
		return err
	}
	s := newSample(nil, a)
	if !asJSON {
		for _, l := range s.lines(onceWidth) {
			fmt.Fprintln(out, l.String())
		}
		return nil
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(s.report())
}

// onceWidth is the width of what --once prints.
const onceWidth = 120

func topCommand() *cobra.Command {
	var once, asJSON bool
	var act topAct
	interval := time.Second
	c := &cobra.Command{
		Use:   "top [PID | PATH]",
		Short: "See what the workers of a running app do; kill or retire them",
		Long: `Shows the servers, workers and pools of a running app, and goes on showing them until q is pressed: what each worker
runs and for how long, its calls per second, errors, processor time and memory; the pools' queues, and how long was waited
in them. The app is found by its pid, or by a unix path that it listens on (Config.Listen). Without either it is the only
one that you run.

Nobody in the app is woken or asked: what is shown is read from memory that its processes share. Only the app's own user,
or root, can look, and kill.

Keys: up and down select a worker; k kills it, so that its call fails and its pool replaces it; r retires it, so that it is
replaced once its checkout is released, and no call fails; q ends. --kill and --retire do the same for scripts.

With --once and --json, calls per second are the mean since the worker's start, and waits and runs are all since the
pool's; else they are those of the last interval, and a dash stands for none.`,
		Example: `  bullpen top 4711
  bullpen top /run/ocr.sock
  bullpen top --once
  bullpen top --json 4711
  bullpen top --retire 3 4711`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if interval < 100*time.Millisecond {
				return errors.New("--interval must be 100ms at least")
			}
			pid, err := target(args)
			if err != nil {
				return err
			}
			switch {
			case act.wanted():
				return act.do(pid)
			case once || asJSON:
				return topOnce(c.OutOrStdout(), pid, asJSON)
			}
			return topScreen(c.Context(), pid, interval)
		},
	}
	f := c.Flags()
	f.BoolVar(&once, "once", false, "print what is shown once, and end")
	f.BoolVar(&asJSON, "json", false, "as --once, in JSON; times are in nanoseconds")
	f.DurationVar(&interval, "interval", interval, "how often to look")
	f.IntVar(&act.kill, "kill", 0, "kill the worker with this number, and end")
	f.IntVar(&act.retire, "retire", 0, "retire the worker with this number, and end")
	f.IntVar(&act.server, "server", 0, "with --kill and --retire: the pid of the worker's server, if there are several")
	c.MarkFlagsMutuallyExclusive("kill", "retire", "once", "json")
	return c
}

// topAct is something that is done to a worker.
type topAct struct {
	kill, retire int // the worker's number, or 0
	server       int // its server's pid, or 0
}

func (a topAct) wanted() bool { return a.kill != 0 || a.retire != 0 }

// do does it to a worker of the app.
func (a topAct) do(pid int) error {
	app, err := observe.Look(pid)
	if err != nil {
		return err
	}
	number := max(a.kill, a.retire)
	var server *observe.Server
	var worker observe.Worker
	found := 0
	for _, s := range app.Servers {
		for _, w := range s.Workers {
			if w.Number == number && (a.server == 0 || a.server == s.Reading.Server) {
				server, worker = s, w
				found++
			}
		}
	}
	switch {
	case found == 0:
		return fmt.Errorf("process %d has no worker %d", pid, number)
	case found > 1:
		return fmt.Errorf("%d servers of process %d have a worker %d: tell with --server which one is meant", found, pid, number)
	case a.kill != 0:
		return server.Kill(worker)
	}
	return server.Retire(worker)
}

// topScreen shows the app in the terminal until q is pressed, ctx ends, or the app does.
func topScreen(ctx context.Context, pid int, interval time.Duration) error {
	a, err := observe.Look(pid) // before the terminal is changed
	if err != nil {
		return err
	}
	return runScreen(ctx, newSample(nil, a), interval)
}
