package pooltest

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

// Kind is what goes wrong.
type Kind int

const (
	// Crash: the worker dies under the call. It ends with *pool.WorkerDiedError, whose Exit says that it crashed.
	Crash Kind = iota
	// Hang: no reply comes, and a cancellation is not heard, until the worker is killed. The call ends with
	// *pool.TimeoutError, or *pool.CanceledError.
	Hang
	// Slow: the worker takes Delay before it looks at the call, or at its cancellation.
	Slow
	// Error: the call ends with Fault.Error. As after an error of its own the worker is retired at release, unless
	// pool.Config.ReuseAfterError is set.
	Error
)

// Fault is something that goes wrong with a call. But for Slow, the call never gets to the worker's handler.
type Fault struct {
	Kind Kind
	// Call is the number of the call that it happens to, counted from 1 over all connections of the dialer, in the order
	// in which they are sent. 0: it happens to every call.
	Call int
	// PerWorker has Call count the calls of each worker. 0 still means every call.
	PerWorker bool
	// Method restricts the fault to calls of this method: others are not counted. "" is any.
	Method string
	// Delay is for Slow.
	Delay time.Duration
	// Error is for Error. Nil is an error with the message "an error injected by pooltest".
	Error *wire.RemoteError
}

// Injector is a dialer with faults. It may be used by any number of pools and goroutines.
type Injector struct {
	d      pool.Dialer
	faults []Fault

	mu       sync.Mutex // guards all below
	counts   []int      // of calls, one for each fault
	happened int
}

// Inject returns a dialer whose workers are d's, with faults: d may be an InProcess, or any other dialer. Each call is
// compared with the faults in order, and the first that applies happens. The error of a worker that dies by itself
// behind pool.Unix or pool.TCP no longer tells how that was.
func Inject(d pool.Dialer, faults ...Fault) *Injector {
	in := &Injector{d: d, counts: make([]int, len(faults))}
	for _, f := range faults {
		if f.Error == nil {
			f.Error = &wire.RemoteError{Message: "an error injected by pooltest", Type: "pooltest"}
		}
		in.faults = append(in.faults, f)
	}
	return in
}

// Happened returns how many faults have happened.
func (in *Injector) Happened() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.happened
}

// fault counts a call, and returns what goes wrong with it, or nil. own are its connection's counts.
func (in *Injector) fault(method string, own []int) *Fault {
	in.mu.Lock()
	defer in.mu.Unlock()
	var found *Fault
	for i := range in.faults {
		f := &in.faults[i]
		if f.Method != "" && f.Method != method {
			continue
		}
		in.counts[i]++
		own[i]++
		n := in.counts[i]
		if f.PerWorker {
			n = own[i]
		}
		if found == nil && (f.Call <= 0 || f.Call == n) {
			found = f
		}
	}
	if found != nil {
		in.happened++
	}
	return found
}

// Name returns the dialer's name, or "pool".
func (in *Injector) Name() string {
	if n, ok := in.d.(interface{ Name() string }); ok {
		return n.Name()
	}
	return "pool"
}

// MaxMessage returns the dialer's largest body of a message, in bytes, or 0.
func (in *Injector) MaxMessage() int64 {
	if m, ok := in.d.(interface{ MaxMessage() int64 }); ok {
		return m.MaxMessage()
	}
	return 0
}

// MaxWorkers returns how many workers the dialer has at most, or 0.
func (in *Injector) MaxWorkers() int {
	if m, ok := in.d.(interface{ MaxWorkers() int }); ok {
		return m.MaxWorkers()
	}
	return 0
}

// Dial connects to a worker.
func (in *Injector) Dial(ctx context.Context) (net.Conn, error) { return in.DialWire(ctx, wire.Binary) }

// DialWire is Dial for a client that speaks the given wire.
func (in *Injector) DialWire(ctx context.Context, kind wire.Kind) (net.Conn, error) {
	dial := in.d.Dial
	if w, ok := in.d.(interface {
		DialWire(context.Context, wire.Kind) (net.Conn, error)
	}); ok {
		dial = func(ctx context.Context) (net.Conn, error) { return w.DialWire(ctx, kind) }
	}
	nc, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	return newFaultConn(in, nc, kind), nil
}
