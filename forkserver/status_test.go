//go:build linux

package forkserver_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unsafe"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/internal/scoreboard"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// burn uses so much processor time.
var burn = server.Handle(basic, "burn", func(_ context.Context, d time.Duration) (wire.None, error) {
	var u syscall.Rusage
	for used := time.Duration(0); used < d; used = time.Duration(u.Utime.Nano() + u.Stime.Nano()) {
		syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	}
	return wire.None{}, nil
})

// scribble fills the worker's slot with garbage, for ever, while it shows a method.
var scribble = server.Handle(basic, "scribble \x1b[2J\xff", func(ctx context.Context, seed uint64) (wire.None, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return wire.None{}, err
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		if !strings.Contains(line, scoreboard.Slots) {
			continue
		}
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			return wire.None{}, err
		}
		words := unsafe.Slice(*(**uint64)(unsafe.Pointer(&from)), (to-from)/8)
		random := rand.New(rand.NewPCG(seed, seed))
		fmt.Println("scribbling")
		for ctx.Err() == nil {
			for i := range 512 { // the figures' page
				words[i] = random.Uint64()
			}
		}
		return wire.None{}, nil
	}
	return wire.None{}, errors.New("the slot is not mapped")
})

// statusOf returns the status, and in it the worker with that pid.
func statusOf(t *testing.T, tr *tree, pid int) (*forkserver.Status, forkserver.WorkerStatus) {
	t.Helper()
	s, err := tr.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range s.Workers {
		if w.Pid == pid {
			return s, w
		}
	}
	return s, forkserver.WorkerStatus{}
}

func TestStatusShowsWhatWorkersDo(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 1}})
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	must(echo.Call(proctest.Limited(t), co, strings.Repeat("x", 5000)))(t)
	must(burn.Call(proctest.Limited(t), co, 50*time.Millisecond))(t) // the system counts whole ticks
	wait.Go(proctest.Limited(t), co)
	tr.logs.said(t, "waiting")
	begun := time.Now()
	s, w := statusOf(t, tr, co.Pid())
	if s.Service != "basic" || s.Server != tr.Pid() || s.Uptime <= 0 {
		t.Errorf("%+v", s)
	}
	if w.State != forkserver.Running || w.Method != "wait" || w.Calls != 2 || w.Errors != 0 || w.Number == 0 || w.Standby {
		t.Errorf("%+v", w)
	}
	if w.BytesIn < 5000 || w.BytesOut < 5000 || w.CPU < 20*time.Millisecond || w.RSS < 1<<20 || w.Age <= 0 || w.Age > s.Uptime {
		t.Errorf("%+v", w)
	}
	_, later := statusOf(t, tr, co.Pid())
	if later.For < w.For || later.For > w.For+time.Since(begun) {
		t.Errorf("the call ran for %v and then for %v", w.For, later.For)
	}
	co.Release()
	proctest.Eventually(t, "a standby is shown, and the worker is not", func() bool {
		s, w := statusOf(t, tr, co.Pid())
		return w.Pid == 0 && len(s.Workers) == 1 && s.Workers[0].Standby && s.Workers[0].State == forkserver.Idle
	})
}

// The server and the worker are stopped: nobody can be waited for, nor woken.
// rested waits until a worker shows that it has served n calls and does nothing: it does so after its reply.
func rested(t *testing.T, tr *tree, pid int, n uint64) {
	t.Helper()
	proctest.Eventually(t, "the worker rests", func() bool {
		_, w := statusOf(t, tr, pid)
		return w.State == forkserver.Idle && uint64(w.Calls) == n
	})
}

func TestStatusNeedsNobody(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	must(echo.Call(proctest.Limited(t), co, "x"))(t)
	rested(t, tr, co.Pid(), 1)
	for _, pid := range []int{co.Pid(), tr.Pid()} {
		kill(pid, syscall.SIGSTOP)
		defer kill(pid, syscall.SIGCONT)
		proctest.Eventually(t, "it is stopped", func() bool { return proctest.State(pid) == "T" })
	}
	if _, w := statusOf(t, tr, co.Pid()); w.State != forkserver.Idle || w.Calls != 1 {
		t.Errorf("%+v", w)
	}
}

func TestStatusOfHostileWorkerIsHarmless(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{HungTimeout: -1}})
	p := newPool(t, tr, poolConfig)
	honest, hostile := checkout(t, p), checkout(t, p)
	must(echo.Call(proctest.Limited(t), honest, "x"))(t)
	rested(t, tr, honest.Pid(), 1)
	ctx, cancel := context.WithCancel(proctest.Limited(t))
	defer cancel()
	scribble.Go(ctx, hostile, 7)
	tr.logs.said(t, "scribbling")
	for range 2000 {
		s, w := statusOf(t, tr, hostile.Pid())
		if w.Number == 0 || w.Pid != hostile.Pid() || w.For < 0 || w.For > w.Age || w.Age > s.Uptime || len(w.Method) > 3*128 {
			t.Fatalf("%+v", w)
		}
		for _, r := range w.Method {
			if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
				t.Fatalf("%q", w.Method)
			}
		}
		if _, w := statusOf(t, tr, honest.Pid()); w.State != forkserver.Idle || w.Calls != 1 || w.Number == 0 {
			t.Fatalf("the other worker shows %+v", w)
		}
	}
}

// A method's name comes from whoever calls, and goes to a terminal.
func TestStatusShowsPrintableText(t *testing.T) {
	t.Parallel()
	tr := start(t, anything, forkserver.Config{})
	p := newPool(t, tr, poolConfig)
	co := checkout(t, p)
	call := &wire.Call{Method: "\x1b[31mred\x00\u202e日本 " + strings.Repeat("é", 100)}
	co.Go(proctest.Limited(t), call)
	tr.logs.said(t, "anything")
	_, w := statusOf(t, tr, co.Pid())
	if want := "?[31mred??日本 "; !strings.HasPrefix(w.Method, want) || strings.ContainsAny(w.Method, "\x1b\x00\u202e\ufffd") {
		t.Errorf("%q", w.Method)
	}
}

// anything takes any method, and waits.
var anything = server.NewService("anything", server.Hooks{})

func init() {
	server.HandleAny(anything, func(ctx context.Context, _ *server.Request) (any, error) {
		fmt.Println("anything")
		<-ctx.Done()
		return nil, ctx.Err()
	})
}

func TestStatusAfterRestartAndDeath(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{Limits: server.Limits{Standby: 1}})
	first := tr.Pid()
	if err := tr.Restart(proctest.Limited(t)); err != nil {
		t.Fatal(err)
	}
	if s, _ := statusOf(t, tr, 0); s.Server != tr.Pid() || s.Server == first {
		t.Errorf("%+v, the first server was %d", s, first)
	}
	second := tr.Pid()
	kill(second, syscall.SIGKILL)
	proctest.Eventually(t, "there is a status again", func() bool {
		s, err := tr.Status()
		if err != nil && !errors.Is(err, wire.ErrServerGone) {
			t.Fatal(err)
		}
		return err == nil && s.Server != second && len(s.Workers) == 1
	})
	tr.Close()
	if s, err := tr.Status(); !errors.Is(err, wire.ErrServerGone) {
		t.Errorf("%+v and %v after Close", s, err)
	}
}

// No worker has a descriptor of the roster or of the asks, and nobody can map the roster for writing.
func TestRosterIsTheServersAlone(t *testing.T) {
	t.Parallel()
	tr := start(t, basic, forkserver.Config{})
	p := newPool(t, tr, pool.Config{})
	for _, kind := range []string{scoreboard.Roster, scoreboard.Asks, scoreboard.Pool} {
		files := must(shell.Call(proctest.Limited(t), p, "ls -l /proc/$PPID/fd; grep memfd /proc/$PPID/maps"))(t)
		if strings.Contains(files, kind) {
			t.Errorf("a worker has %s:\n%s", kind, files)
		}
	}
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", tr.Pid()))
	for _, fd := range fds {
		file := fmt.Sprintf("/proc/%d/fd/%s", tr.Pid(), fd.Name())
		if name, _ := os.Readlink(file); strings.Contains(name, scoreboard.Roster) {
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			if err != nil {
				return // also good
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte{1}, 600); !errors.Is(err, syscall.EPERM) {
				t.Errorf("writing to the roster: %v", err)
			}
			return
		}
	}
	t.Error("the server has no roster")
}
