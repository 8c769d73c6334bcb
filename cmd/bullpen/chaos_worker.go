//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	enc "encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// This file is what chaos runs in workers: one method that does as it is told, good or bad.

// chaosOrder is a call.
type chaosOrder struct {
	Nonce    uint64
	Do       string        // one of chaosDeeds
	For      time.Duration // how long it takes, if it takes a while
	Checkout uint64        // the held checkout it belongs to, or 0,
	Seq      int           // and its place there
	Payload  []byte
	Reply    int // the size of the answer's Pad
}

// chaosAnswer shows that it belongs to its order, and who gave it.
type chaosAnswer struct {
	Proof  []byte
	Pad    []byte
	Worker chaosWorkerID
}

// chaosWorkerID tells workers apart for longer than a pid does, which is soon used again.
type chaosWorkerID struct{ Pid, Number int }

// chaosData is what workers are told in their setup.
type chaosData struct{ Dir string }

// Files in chaosData.Dir.
const (
	chaosRanFile   = "ran"   // the nonce of each call that began to run, 8 bytes each
	chaosSetupFile = "setup" // what Setup hooks do: one of chaosSetups
)

var (
	// The one service is as plain as can be, the other one has hooks.
	chaosPlain  = server.NewService("chaos", server.Hooks{})
	chaosHooked = server.NewService("chaos-hooked", server.Hooks{Setup: chaosSetup, CheckoutDone: chaosCheckoutDone})

	chaosCall = wire.NewMethod[chaosOrder, chaosAnswer]("do")
)

func init() {
	server.Bind(chaosPlain, chaosCall, chaosHandle)
	server.Bind(chaosHooked, chaosCall, chaosHandle)
}

func (o *chaosOrder) proof() []byte {
	h := sha256.New()
	enc.Write(h, enc.LittleEndian, o.Nonce)
	h.Write(o.Payload)
	return h.Sum(nil)
}

// chaosSelf is what this worker knows of itself.
var chaosSelf struct {
	once     sync.Once
	err      error
	id       chaosWorkerID
	ran      *os.File
	checkout uint64
	seq      int
	nonce    uint64
}

// chaosKnowSelf prepares the worker, once. SIGUSR1 then has it loop for ever.
func chaosKnowSelf(ctx context.Context) error {
	s := &chaosSelf
	s.once.Do(func() {
		data, err := server.SetupData[chaosData](ctx)
		if err != nil {
			s.err = err
			return
		}
		s.id.Pid = os.Getpid()
		if _, number, ok := strings.Cut(os.Getenv("BULLPEN_WORKER"), "."); ok {
			fmt.Sscan(number, &s.id.Number)
		}
		s.ran, s.err = os.OpenFile(filepath.Join(data.Dir, chaosRanFile), os.O_WRONLY|os.O_APPEND, 0)
		loop := make(chan os.Signal, 1)
		signal.Notify(loop, unix.SIGUSR1)
		go func() {
			<-loop
			chaosLoop()
		}()
	})
	return s.err
}

// codeChaosOrder is the code of the error for a call that came before its turn, or to a worker that isn't its checkout's.
const codeChaosOrder = "out of order"

func chaosHandle(ctx context.Context, o chaosOrder) (chaosAnswer, error) {
	if err := chaosKnowSelf(ctx); err != nil {
		return chaosAnswer{}, err
	}
	s := &chaosSelf
	if _, err := s.ran.Write(enc.LittleEndian.AppendUint64(nil, o.Nonce)); err != nil {
		return chaosAnswer{}, err
	}
	if o.Checkout != 0 && o.Checkout == s.checkout && o.Seq <= s.seq {
		return chaosAnswer{}, wire.WithCode(fmt.Errorf("call %d came after call %d", o.Seq, s.seq), codeChaosOrder)
	}
	s.checkout, s.seq, s.nonce = o.Checkout, o.Seq, o.Nonce
	do := chaosDeeds[o.Do]
	if do == nil {
		return chaosAnswer{}, fmt.Errorf("no deed %q", o.Do)
	}
	proof := o.proof()
	if err := do(ctx, &o); err != nil {
		return chaosAnswer{}, err
	}
	return chaosAnswer{Proof: proof, Pad: bytes.Repeat(proof[:1], o.Reply), Worker: s.id}, nil
}

// chaosDeeds are what an order can want.
var chaosDeeds = map[string]func(context.Context, *chaosOrder) error{
	"answer": func(context.Context, *chaosOrder) error { return nil },
	"slow": func(ctx context.Context, o *chaosOrder) error {
		select {
		case <-time.After(o.For):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	},
	"deaf": func(_ context.Context, o *chaosOrder) error { time.Sleep(o.For); return nil },
	"busy": func(_ context.Context, o *chaosOrder) error {
		for start := time.Now(); time.Since(start) < o.For; {
		}
		return nil
	},
	"log": func(ctx context.Context, o *chaosOrder) error {
		for i := range 20 {
			server.Logger(ctx).Info("chaos", "nonce", o.Nonce, "i", i)
		}
		return nil
	},
	"print": func(context.Context, *chaosOrder) error {
		os.Stderr.Write(bytes.Repeat([]byte{'x'}, 300<<10))
		return nil
	},
	"fail":      func(context.Context, *chaosOrder) error { return errors.New("as ordered") },
	"too large": func(_ context.Context, o *chaosOrder) error { o.Reply = chaosMaxMessage + 1; return nil },
	"panic":     func(context.Context, *chaosOrder) error { panic("as ordered") },
	"goexit":    func(context.Context, *chaosOrder) error { runtime.Goexit(); return nil },

	"loop":      func(context.Context, *chaosOrder) error { chaosLoop(); return nil },
	"hard loop": func(context.Context, *chaosOrder) error { chaosHardLoop(); return nil },
	"stop": func(context.Context, *chaosOrder) error {
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		select {} // other threads go on for a moment, and this one may be among them
	},
	"kill":   func(context.Context, *chaosOrder) error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) },
	"segv":   func(context.Context, *chaosOrder) error { go chaosNil.deed(); select {} },
	"abort":  func(context.Context, *chaosOrder) error { syscall.Kill(os.Getpid(), syscall.SIGABRT); select {} },
	"throw":  func(context.Context, *chaosOrder) error { new(sync.Mutex).Unlock(); return nil },
	"exit":   func(context.Context, *chaosOrder) error { os.Exit(3); return nil },
	"exit 0": func(context.Context, *chaosOrder) error { os.Exit(0); return nil },
	"exit later": func(_ context.Context, o *chaosOrder) error {
		time.AfterFunc(o.For, func() { os.Exit(4) })
		return nil
	},
	"loop later": func(_ context.Context, o *chaosOrder) error {
		time.AfterFunc(o.For, chaosHardLoop)
		return nil
	},
	"close": func(context.Context, *chaosOrder) error { return unix.CloseRange(3, 64, 0) },
	"children": func(context.Context, *chaosOrder) error {
		return errors.Join(chaosSleep(nil), chaosSleep(&syscall.SysProcAttr{Setsid: true}))
	},
}

// chaosLoop loops for ever.
func chaosLoop() {
	//lint:ignore SA5002 it is meant to spin
	for {
	}
}

// chaosHardLoop loops where nothing reaches the thread, as in a C library: with all signals blocked the Go runtime can't
// interrupt it, and stands still at its next garbage collection.
func chaosHardLoop() {
	runtime.LockOSThread()
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	unix.PthreadSigmask(unix.SIG_SETMASK, &all, nil)
	chaosLoop()
}

// chaosSleep leaves a child behind.
func chaosSleep(attr *syscall.SysProcAttr) error {
	c := exec.Command("sleep", "1000")
	c.SysProcAttr = attr
	return c.Start()
}

type chaosNothing struct{ n int }

var chaosNil *chaosNothing

func (n *chaosNothing) deed() { n.n++ }

const chaosSetupExit = 5

// chaosSetups are what the Setup hook can do.
var chaosSetups = map[string]func(ctx context.Context) error{
	"":      func(context.Context) error { return nil },
	"fail":  func(context.Context) error { return errors.New("as ordered") },
	"panic": func(context.Context) error { panic("as ordered") },
	"exit":  func(context.Context) error { os.Exit(chaosSetupExit); return nil },
	"hang":  func(ctx context.Context) error { time.Sleep(time.Hour); return nil },
	"some": func(context.Context) error { // fail
		if chaosSelf.id.Number%3 == 0 {
			return errors.New("as ordered for every third worker")
		}
		return nil
	},
}

func chaosSetup(ctx context.Context) error {
	if err := chaosKnowSelf(ctx); err != nil {
		return err
	}
	data, _ := server.SetupData[chaosData](ctx)
	what, err := os.ReadFile(filepath.Join(data.Dir, chaosSetupFile))
	if err != nil {
		return err
	}
	return chaosSetups[string(what)](ctx)
}

// chaosCheckoutDone fails now and then.
func chaosCheckoutDone(context.Context) error {
	if chaosSelf.nonce%64 == 0 {
		return errors.New("as ordered after every 64th call")
	}
	return nil
}
