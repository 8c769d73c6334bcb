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

// TestStress has 64 callers on 8 workers, and kills a worker every now and then.
func TestStress(t *testing.T) {
	t.Parallel()
	const callers, calls, killEvery = 64, 60, 40
	ready, live := newEvents(), &livePids{}
	srv := start(t, plain, forkserver.Config{OnEvent: func(e server.Event) { live.on(e); ready.on(e) }})
	p := newPool(t, srv, pool.Config{MinWorkers: 8, MaxWorkers: 8})
	ready.wait(t, server.WorkerReady, 8)
	file := tempFile(t, "runs")

	var done, died, wrong, late atomic.Int64
	check := func(nonce, got string, err error, took time.Duration) {
		var dead *pool.WorkerDiedError
		switch {
		case err == nil && got != hash(nonce):
			wrong.Add(1)
		case errors.As(err, &dead):
			died.Add(1)
		case err != nil:
			t.Errorf("an unexpected error: %T %v", err, err)
		}
		if took > patience {
			late.Add(1)
		}
		if done.Add(1)%killEvery == 0 {
			live.killOne()
		}
	}
	// call makes a call by the pool, in a checkout of its own, or in a cancelled context.
	call := func(way int, nonce string) (string, error) {
		ctx := limited(t)
		if way == 0 {
			co, err := p.Checkout(ctx)
			if err != nil {
				return "", err
			}
			defer co.Release()
			first := digest.Go(ctx, co, file, nonce+" first")
			got, err := digest.Call(ctx, co, file, nonce)
			if other, ferr := first.Wait(); ferr == nil && other != hash(nonce+" first") {
				wrong.Add(1)
			}
			return got, err
		}
		return digest.Call(ctx, p, file, nonce)
	}
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := range calls {
				nonce := fmt.Sprintf("%d/%d", c, i)
				begin := time.Now()
				got, err := call(i%3, nonce)
				check(nonce, got, err, time.Since(begin))
			}
		})
	}
	all.Wait()

	s := p.Stat()
	t.Logf("%d calls, %d kills, %d calls with a dead worker, %+v", done.Load(), live.kills, died.Load(), s)
	if wrong.Load() != 0 || late.Load() != 0 {
		t.Errorf("%d wrong answers, %d late ones", wrong.Load(), late.Load())
	}
	if n := died.Load(); n > int64(live.kills)+1 {
		t.Errorf("%d kills have cost %d calls", live.kills, n)
	}
	if s.Waiting != 0 || s.Acquired != 0 || s.Total > 8 || len(s.Ends) != 1 || s.Ends["died"] == 0 {
		t.Errorf("%+v", s)
	}
	b, err := os.ReadFile(file)
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
	g := newGate(t) // the pool has healed: eight calls run at the same time
	for range 8 {
		hold.Go(limited(t), p, g.path)
	}
	for range 8 {
		defer g.next(t).open()
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
