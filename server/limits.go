package server

import (
	"time"

	"github.com/bullpen-go/bullpen/internal/notimeouts"
	"github.com/bullpen-go/bullpen/wire"
)

// Limits bound what workers may do and take. In every field zero means the default and a negative value none.
type Limits struct {
	// HungTimeout is how long a call or a CheckoutDone hook may run before its worker is ended from outside, by
	// SIGQUIT for a goroutine dump and then SIGKILL. On Linux it also is how long a worker may be stopped (SIGSTOP),
	// whatever it does. Default 5 minutes.
	HungTimeout time.Duration `cbor:"1,keyasint,omitempty"`
	// SetupTimeout is how long Hooks.Setup may take. Default 30 seconds.
	SetupTimeout time.Duration `cbor:"2,keyasint,omitempty"`
	// CancelGrace is how long a handler whose context was cancelled may take to return before its worker is killed.
	// Default 100 milliseconds. Negative: it is killed at once.
	CancelGrace time.Duration `cbor:"3,keyasint,omitempty"`
	// Standby is how many workers are kept started and set up that nobody uses yet. Those of a forkserver.Process that doesn't
	// listen have their connection to it already: a pool takes one without asking the server. Default 0.
	Standby int `cbor:"4,keyasint,omitempty"`
	// MaxMessage is the largest body of a message in either direction, in bytes. Default 64 MiB. Negative: 2 GiB.
	MaxMessage int64 `cbor:"5,keyasint,omitempty"`
	// Procs is GOMAXPROCS in a worker. Default 1: one call at a time needs no more, and it is the fastest. Raise it for
	// handlers that compute in parallel. Negative: as many as the machine has.
	Procs int `cbor:"6,keyasint,omitempty"`
	// MaxMemory is how much memory a worker may take for its data, in bytes, on Linux: RLIMIT_DATA. A worker that wants
	// more gets an allocation error in C, and dies in Go; its wire.Exit then says "out of memory", or "crashed" if it was
	// the garbage collector that got none. Go collects harder from 90 % of it on. Default no limit. The Go runtime itself
	// wants some 32 MiB.
	MaxMemory int64 `cbor:"8,keyasint,omitempty"`
	// MaxSilent is how many clients of a Listen address may be connected without having sent anything. One more is
	// closed. Default 1000.
	MaxSilent int `cbor:"7,keyasint,omitempty"`
}

// withDefaults returns the limits in force: what is not limited is 0, but for CancelGrace, where 0 is at once.
func (l Limits) withDefaults() Limits {
	l.HungTimeout = limit(l.HungTimeout, 5*time.Minute, 0)
	l.SetupTimeout = limit(l.SetupTimeout, 30*time.Second, 0)
	l.CancelGrace = limit(l.CancelGrace, 100*time.Millisecond, 0)
	l.Standby = limit(l.Standby, 0, 0)
	l.MaxMessage = limit(l.MaxMessage, wire.DefaultMaxMessage, 2<<30)
	l.Procs = limit(l.Procs, 1, 0)
	l.MaxMemory = limit(l.MaxMemory, 0, 0)
	l.MaxSilent = limit(l.MaxSilent, 1000, 0)
	if notimeouts.On() {
		l.HungTimeout, l.SetupTimeout, l.CancelGrace = 0, 0, notimeouts.Forever
	}
	return l
}

func limit[T int | int64 | time.Duration](v, def, none T) T {
	switch {
	case v == 0:
		return def
	case v < 0:
		return none
	}
	return v
}
