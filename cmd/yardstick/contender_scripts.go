package main

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed scripts
var scripts embed.FS

// interpreter is a language whose own way to have worker processes is a peer. Its script makes the load itself and
// reports; see scripts.
type interpreter struct {
	program string
	script  string // its file, once it was unpacked
}

// job is a script's argument.
type job struct {
	Workers int     `json:"workers"`
	Callers int     `json:"callers"`
	Size    int     `json:"size"`
	Every   float64 `json:"every"`   // seconds
	Seconds float64 `json:"seconds"` // how long
	Samples int     `json:"samples"` // not 0: start a worker that often, and nothing else
}

// findings are what a script prints in the end.
type findings struct {
	Seconds   float64   `json:"seconds"`
	Latencies []float64 `json:"latencies"` // seconds
}

// findInterpreters returns the interpreters that this machine has, by the name of the contender.
func findInterpreters(dir string) (map[string]interpreter, error) {
	found := map[string]interpreter{}
	for _, s := range []struct{ name, program, script string }{
		{namePython, "python3", "echo.py"},
		{nameNode, "node", "echo.js"},
	} {
		program, err := exec.LookPath(s.program)
		if err != nil {
			continue
		}
		text, err := scripts.ReadFile("scripts/" + s.script)
		if err != nil {
			return nil, err
		}
		in := interpreter{program, filepath.Join(dir, s.script)}
		if err := os.WriteFile(in.script, text, 0o600); err != nil {
			return nil, err
		}
		found[s.name] = in
	}
	return found, nil
}

// load has the script put a load on its workers.
func (in interpreter) load(ctx context.Context, l load) (values, error) {
	s, err := in.begin(ctx, job{Workers: l.workers, Callers: l.callers, Size: l.size, Every: l.every.Seconds(), Seconds: l.duration.Seconds()})
	if err != nil {
		return nil, err
	}
	defer s.end()
	var ready struct{ Pids []int }
	if err := s.hear(&ready); err != nil {
		return nil, err
	}
	used := newCPUMeter(ready.Pids)
	if _, err := s.in.WriteString("go\n"); err != nil {
		return nil, err
	}
	var r findings
	if err := s.hear(&r); err != nil {
		return nil, err
	}
	spent, err := used.spent()
	if err != nil {
		return nil, err
	}
	return summary(l, r.durations(), time.Duration(r.Seconds*1e9), spent), nil
}

// starts has the script start a worker n times and returns how long it took to its first reply.
func (in interpreter) starts(ctx context.Context, n int) ([]time.Duration, error) {
	s, err := in.begin(ctx, job{Samples: n})
	if err != nil {
		return nil, err
	}
	defer s.end()
	var r findings
	err = s.hear(&r)
	return r.durations(), err
}

func (r findings) durations() (all []time.Duration) {
	for _, s := range r.Latencies {
		all = append(all, time.Duration(s*1e9))
	}
	return all
}

// script is a script that runs.
type script struct {
	cmd *exec.Cmd
	in  *os.File
	out *bufio.Reader
}

func (in interpreter) begin(ctx context.Context, j job) (*script, error) {
	arg, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := exec.CommandContext(ctx, in.program, in.script, string(arg))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends its workers then
	cmd.WaitDelay = 2 * time.Second
	cmd.Stdin = r
	cmd.Stderr = childStderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return &script{cmd, w, bufio.NewReader(out)}, nil
}

// hear reads what the script says next.
func (s *script) hear(v any) error {
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the script %s ended early: %w", s.cmd.Args[1], err)
	}
	return json.Unmarshal(line, v)
}

func (s *script) end() {
	s.in.Close()
	s.cmd.Wait()
}
