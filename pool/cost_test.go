//go:build linux || darwin

package pool_test

import (
	"context"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// The method "burn" uses so much processor time.
var _ = server.Handle(plain, "burn", func(_ context.Context, d time.Duration) (wire.None, error) {
	for begin := used(); used()-begin < d; {
	}
	return wire.None{}, nil
})

func used() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The method "occupy" writes to so many bytes.
var _ = server.Handle(plain, "occupy", func(_ context.Context, n int) (byte, error) {
	b := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	sum := byte(0)
	for i := 0; i < n; i += 4096 {
		sum += b[i]
	}
	return sum, nil
})

func TestCostOfACall(t *testing.T) {
	t.Parallel()
	bothWires(t, func(t *testing.T, kind wire.Kind) {
		p := newPool(t, sharedServer(t), pool.Config{MaxWorkers: 1, Wire: kind, Timeout: patience})
		co := checkout(t, p)
		small := &wire.Call{Method: "pid", Measure: true}
		if err := co.Do(limited(t), small); err != nil {
			t.Fatal(err)
		}
		const work, memory = 100 * time.Millisecond, 64 << 20
		busy := &wire.Call{Method: "burn", Args: []any{work}, Measure: true}
		if err := co.Do(limited(t), busy); err != nil {
			t.Fatal(err)
		}
		if c := busy.Cost; c.CPU < work || c.CPU > 10*work || c.Run < c.CPU/time.Duration(2*runtime.NumCPU()) {
			t.Errorf("a call that uses %v of processor time cost %+v", work, c)
		}
		large := &wire.Call{Method: "occupy", Args: []any{memory}, Measure: true}
		if err := co.Do(limited(t), large); err != nil {
			t.Fatal(err)
		}
		if got := large.Cost.PeakRSS; got < memory || got > 4*memory || small.Cost.PeakRSS <= 1<<20 || small.Cost.PeakRSS > memory {
			t.Errorf("a call that takes %d bytes had a peak of %d, one that takes none %d", memory, got, small.Cost.PeakRSS)
		}
		unmeasured := &wire.Call{Method: "pid"}
		if err := co.Do(limited(t), unmeasured); err != nil {
			t.Fatal(err)
		}
		if c := unmeasured.Cost; c.CPU != 0 || c.PeakRSS != 0 {
			t.Errorf("a call that nobody wanted measured cost %+v", c)
		}
		if kind == wire.Binary {
			equal(t, "the worker's pid", unmeasured.Pid, co.Pid())
		}
	})
}

// A pool's or a view's calls are all measured if its configuration says so, and a handler does not see that.
func TestPoolsAndViewsMeasure(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]wire.Caller{
		"pool": newPool(t, sharedServer(t), pool.Config{Measure: true}),
		"view": newPool(t, sharedServer(t), pool.Config{}).With(pool.CheckoutConfig{Measure: true}).With(pool.CheckoutConfig{}),
	} {
		p := meta.Go(limited(t), c)
		if m := must[map[string]string](t)(p.Wait()); len(m) != 0 {
			t.Errorf("%s: the handler sees %v", name, m)
		}
		if cost := p.Cost(); cost.PeakRSS <= 0 || cost.CPU <= 0 {
			t.Errorf("%s: the call cost %+v", name, cost)
		}
	}
}

// shellCommand is a command that counts, for every call.
var shellCommand = server.NewCommand("shell", server.Command{Args: []string{"sh", "-c",
	`while read -r line; do i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo '["ok",{},null]'; done`}})

// Of a command it is the command that is measured, and not the process that stands before it.
func TestCostOfACommand(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("another process's time can be had on Linux only")
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip(err)
	}
	p := newPool(t, start(t, shellCommand, forkserver.Config{}), pool.Config{Timeout: patience})
	call := &wire.Call{Method: "count", Measure: true}
	if err := p.Do(limited(t), call); err != nil {
		t.Fatal(err)
	}
	if c := call.Cost; c.CPU < 5*time.Millisecond || c.PeakRSS <= 0 {
		t.Errorf("a command that counts to 100,000 cost %+v", c)
	}
}
