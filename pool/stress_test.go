//go:build linux || darwin

package pool_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

// digest notes its nonce in a file, so that calls which ran twice are found, and returns its hash.
var digest = server.Handle2(plain, "digest", func(_ context.Context, file, nonce string) (string, error) {
	if err := appendLine(file, nonce); err != nil {
		return "", err
	}
	return hash(nonce), nil
})

func hash(nonce string) string {
	sum := sha256.Sum256([]byte(nonce))
	return hex.EncodeToString(sum[:])
}

// stress is what callers under stress share, and what they find.
type stress struct {
	pool *pool.Pool
	live *livePids
	file string // each call that runs notes itself there

	done, died, wrong, late atomic.Int64
}

const killEvery = 40 // calls

// TestStress has 64 callers on 8 workers, and kills a worker every now and then.
func TestStress(t *testing.T) {
	t.Parallel()
	const callers, calls = 64, 60
	ready, s := newEvents(), &stress{live: &livePids{}, file: tempFile(t, "runs")}
	srv := start(t, plain, forkserver.Config{OnEvent: func(e server.Event) { s.live.on(e); ready.on(e) }})
	s.pool = newPool(t, srv, pool.Config{MinWorkers: 8, MaxWorkers: 8})
	ready.wait(t, server.WorkerReady, 8)
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := range calls {
				s.call(t, i%3 == 0, fmt.Sprintf("%d/%d", c, i))
			}
		})
	}
	all.Wait()
	s.judge(t)

	g := newGate(t) // the pool has healed: eight calls run at the same time
	for range 8 {
		hold.Go(limited(t), s.pool, g.path)
	}
	for range 8 {
		defer g.next(t).open()
	}
}

// call makes a call and looks at its end.
func (s *stress) call(t *testing.T, checkout bool, nonce string) {
	begin := time.Now()
	var got string
	var err error
	if checkout {
		got, err = s.twoCalls(t, nonce)
	} else {
		got, err = digest.Call(limited(t), s.pool, s.file, nonce)
	}
	var dead *pool.WorkerDiedError
	switch {
	case err == nil && got != hash(nonce):
		s.wrong.Add(1)
	case errors.As(err, &dead):
		s.died.Add(1)
	case err != nil:
		t.Errorf("an unexpected error: %T %v", err, err)
	}
	if time.Since(begin) > patience {
		s.late.Add(1)
	}
	if s.done.Add(1)%killEvery == 0 {
		s.live.killOne()
	}
}

// twoCalls makes two calls in a checkout of its own, and returns how the second one ends.
func (s *stress) twoCalls(t *testing.T, nonce string) (string, error) {
	ctx := limited(t)
	co, err := s.pool.Checkout(ctx)
	if err != nil {
		return "", err
	}
	defer co.Release()
	first := digest.Go(ctx, co, s.file, nonce+" first")
	got, err := digest.Call(ctx, co, s.file, nonce)
	if other, ferr := first.Wait(); ferr == nil && other != hash(nonce+" first") {
		s.wrong.Add(1)
	}
	return got, err
}

// judge looks at what all calls have come to.
func (s *stress) judge(t *testing.T) {
	t.Helper()
	stat := s.pool.Stat()
	t.Logf("%d calls, %d kills, %d calls with a dead worker, %+v", s.done.Load(), s.live.kills, s.died.Load(), stat)
	if s.wrong.Load() != 0 || s.late.Load() != 0 {
		t.Errorf("%d wrong answers, %d late ones", s.wrong.Load(), s.late.Load())
	}
	if n := s.died.Load(); n > int64(s.live.kills)+1 {
		t.Errorf("%d kills have cost %d calls", s.live.kills, n)
	}
	if stat.Waiting != 0 || stat.Acquired != 0 || stat.Total > 8 || len(stat.Ends) != 1 || stat.Ends["died"] == 0 {
		t.Errorf("%+v", stat)
	}
	b, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	runs := map[string]bool{}
	for nonce := range strings.Lines(string(b)) {
		if runs[nonce] {
			t.Errorf("call %q ran twice", nonce)
		}
		runs[nonce] = true
	}
}

// livePids are the workers that have not been reaped yet.
type livePids struct {
	mu    sync.Mutex // guards all below
	pids  []int
	kills int
}

func (l *livePids) on(e server.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.Type {
	case server.WorkerReady:
		l.pids = append(l.pids, e.Pid)
	case server.WorkerEnded:
		l.remove(e.Pid)
	}
}

func (l *livePids) remove(pid int) {
	for i, p := range l.pids {
		if p == pid {
			l.pids = append(l.pids[:i], l.pids[i+1:]...)
			return
		}
	}
}

// killOne kills a worker at random, once.
func (l *livePids) killOne() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pids) == 0 {
		return
	}
	pid := l.pids[rand.IntN(len(l.pids))]
	l.remove(pid)
	if syscall.Kill(pid, syscall.SIGKILL) == nil {
		l.kills++
	}
}

// TestManyCancels cancels calls at moments around their end: none may get another call's answer.
func TestManyCancels(t *testing.T) {
	t.Parallel()
	srv := start(t, plain, forkserver.Config{Limits: server.Limits{CancelGrace: patience}})
	p := newPool(t, srv, pool.Config{MaxWorkers: 4})
	var all sync.WaitGroup
	for c := range 8 {
		all.Go(func() {
			for i := range 40 {
				text := fmt.Sprintf("%d/%d", c, i)
				ctx, cancel := context.WithTimeout(limited(t), time.Duration(rand.IntN(30))*time.Millisecond)
				_, err := nap.Call(ctx, p, time.Duration(rand.IntN(30))*time.Millisecond)
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				if got, err := echoText.Call(limited(t), p, text); err != nil || got != text {
					t.Errorf("%q instead of %q, %v", got, text, err)
				}
			}
		})
	}
	all.Wait()
	if s := p.Stat(); s.Connects > 4 {
		t.Errorf("workers were killed whose handlers returned: %+v", s)
	}
}
