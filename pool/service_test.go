//go:build linux || darwin

package pool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// What runs in the workers. Package variables are the same in the test and in its workers; what a worker changes in
// them the test never sees.

var plain = server.NewService("plain", server.Hooks{})

var (
	echo      = server.Handle(plain, "echo", func(_ context.Context, v any) (any, error) { return v, nil })
	echoText  = server.Handle(plain, "echo text", func(_ context.Context, s string) (string, error) { return s, nil })
	echoBytes = server.Handle(plain, "echo bytes", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	echoDoc   = server.Handle(plain, "echo document", func(_ context.Context, d document) (document, error) { return d, nil })
	pid       = server.Handle0(plain, "pid", func(context.Context) (int, error) { return os.Getpid(), nil })
	parent    = server.Handle0(plain, "parent", func(context.Context) (int, error) { return os.Getppid(), nil })
	meta      = server.Handle0(plain, "meta", func(ctx context.Context) (map[string]string, error) { return server.Meta(ctx), nil })

	// remember appends to a list in the worker's memory, and returns it.
	remember = server.Handle(plain, "remember", func(_ context.Context, n int) ([]int, error) {
		remembered = append(remembered, n)
		return remembered, nil
	})
	remembered []int

	fail = server.Handle(plain, "fail", func(_ context.Context, text string) (wire.None, error) {
		return wire.None{}, wire.WithCode(errors.New(text), "E_FAIL")
	})
	explode = server.Handle(plain, "explode", func(_ context.Context, text string) (wire.None, error) { panic(text) })
	goexit  = server.Handle0(plain, "goexit", func(context.Context) (wire.None, error) { runtime.Goexit(); return wire.None{}, nil })

	// exit prints to standard error and ends the worker.
	exit = server.Handle2(plain, "exit", func(_ context.Context, code int, text string) (wire.None, error) {
		fmt.Fprint(os.Stderr, text)
		os.Exit(code)
		return wire.None{}, nil
	})
	// noteAndExit appends the line's first letter to a file, and ends the worker.
	noteAndExit = server.Handle2(plain, "note and exit", func(_ context.Context, file, line string) (wire.None, error) {
		appendLine(file, line[:1])
		os.Exit(3)
		return wire.None{}, nil
	})

	// hold shows at the gate and returns when the test opens it, or when its context ends.
	hold = server.Handle(plain, "hold", func(ctx context.Context, gate string) (int, error) {
		c, err := show(gate)
		if err != nil {
			return 0, err
		}
		stop := context.AfterFunc(ctx, func() { c.Close() })
		defer stop()
		defer c.Close()
		c.Read(make([]byte, 1)) // ends when the test closes it
		return os.Getpid(), ctx.Err()
	})
	nap = server.Handle(plain, "nap", func(_ context.Context, d time.Duration) (wire.None, error) {
		time.Sleep(d)
		return wire.None{}, nil
	})
	// hang shows at the gate and never returns, in one of several ways.
	hang = server.Handle2(plain, "hang", func(_ context.Context, gate, how string) (wire.None, error) {
		c, err := show(gate)
		if err != nil {
			return wire.None{}, err
		}
		defer c.Close() // and not before, which the garbage collector would do
		switch how {
		case "busy":
			//lint:ignore SA5002 it is meant to spin
			for {
			}
		case "asleep":
			time.Sleep(time.Hour)
		case "stopped":
			syscall.Kill(os.Getpid(), syscall.SIGSTOP)
			time.Sleep(time.Hour)
		case "raw":
			waitRaw()
		}
		return wire.None{}, errors.New("there is no way to hang " + how)
	})

	// chatter logs, and then fails or exits if it is told to.
	chatter = server.Handle2(plain, "chatter", func(ctx context.Context, lines int, then string) (int, error) {
		log := server.Logger(ctx)
		log.Debug("begin", "lines", lines)
		for i := range lines {
			log.Info(fmt.Sprint("line ", i), "n", i)
		}
		log.With("with", "this").Named("sub").Warn("end", "ünïcode", "日本語")
		switch then {
		case "fail":
			return 0, errors.New("chatter failed")
		case "panic":
			panic("chatter panicked")
		case "exit":
			os.Exit(3)
		}
		return lines, nil
	})

	// unsendable returns what can't be sent.
	unsendable = server.Handle(plain, "unsendable", func(_ context.Context, what string) (any, error) {
		switch what {
		case "chan":
			return make(chan int), nil
		case "func":
			return func() {}, nil
		case "cycle":
			return newCycle(), nil
		case "text":
			return "\xff", nil
		}
		return make([]byte, 2<<20), nil
	})

	three = server.Handle3(plain, "three", func(_ context.Context, a int, b string, c []int) (string, error) {
		return fmt.Sprint(a, b, c), nil
	})
	bound = wire.NewMethod2[int, int, int]("bound")
)

func init() {
	server.Bind2(plain, bound, func(_ context.Context, a, b int) (int, error) { return a * b, nil })
}

// document has a field of each kind.
type document struct {
	Text    string
	Bytes   []byte
	Int     int64
	Uint    uint64
	Float   float64
	Yes     bool
	Time    time.Time
	Took    time.Duration
	Pointer *string
	Missing *string
	List    []string
	Map     map[string]int
	Inner   struct{ A, B int8 }
	Any     any
}

type cycle struct{ Next *cycle }

func newCycle() *cycle {
	c := new(cycle)
	c.Next = c
	return c
}

// catchall has no methods but what HandleAny makes of a call.
var catchall = server.NewService("catchall", server.Hooks{})

func init() {
	server.HandleAny(catchall, func(_ context.Context, r *server.Request) (any, error) {
		args, err := r.Args()
		return []any{r.Method, args}, err
	})
}

// hooked has hooks, whose data says what they do.
var hooked = server.NewService("hooked", server.Hooks{
	Setup: func(ctx context.Context) error {
		d, err := server.SetupData[hookData](ctx)
		if err != nil {
			return err
		}
		if d.SetupLog != "" {
			noteSetup(d.SetupLog)
		}
		how, _ := os.ReadFile(d.SetupFails)
		return misbehave(ctx, string(how))
	},
	CheckoutDone: func(ctx context.Context) error {
		d, err := server.SetupData[hookData](ctx)
		if err == nil {
			appendLine(d.DoneLog, fmt.Sprint(os.Getpid()))
			err = misbehave(ctx, doneFails)
		}
		return err
	},
})

type hookData struct {
	SetupLog   string // a file that each Setup appends its pid to, and whether the worker before it lives still
	SetupFails string // a file that says how Setup fails
	DoneLog    string // a file that each CheckoutDone appends its pid to
}

func noteSetup(file string) {
	var before int
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		fmt.Sscan(line, &before)
	}
	appendLine(file, fmt.Sprintf("%d %t", os.Getpid(), before != 0 && syscall.Kill(before, 0) == nil))
}

func misbehave(ctx context.Context, how string) error {
	switch how {
	case "":
		return nil
	case "panic":
		panic("the hook panicked")
	case "never return":
		<-ctx.Done()
	case "exit":
		os.Exit(5)
	}
	if gate, ok := strings.CutPrefix(how, "wait at "); ok { // as vulnerable to signals as a process that has just begun
		signal.Reset(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		c, err := show(gate)
		if err == nil {
			c.Read(make([]byte, 1))
			c.Close()
		}
		return err
	}
	return wire.WithCode(errors.New(how), "E_HOOK")
}

var (
	hookedPid  = server.Handle0(hooked, "pid", func(context.Context) (int, error) { return os.Getpid(), nil })
	hookedFail = server.Handle(hooked, "fail", func(_ context.Context, text string) (wire.None, error) {
		return wire.None{}, errors.New(text)
	})
	hookedExplode = server.Handle0(hooked, "explode", func(context.Context) (wire.None, error) { panic("boom") })
	hookedHold    = server.Handle(hooked, "hold", func(ctx context.Context, gate string) (wire.None, error) {
		c, err := show(gate)
		if err == nil {
			<-ctx.Done()
			c.Close()
		}
		return wire.None{}, ctx.Err()
	})
	// failDone says how the next CheckoutDone fails.
	failDone = server.Handle(hooked, "fail done", func(_ context.Context, how string) (int, error) {
		doneFails = how
		return os.Getpid(), nil
	})
	doneFails string
)

// show connects to a gate and says who is there.
func show(gate string) (net.Conn, error) {
	c, err := net.Dial("unix", gate)
	if err == nil {
		_, err = fmt.Fprintln(c, os.Getpid())
	}
	return c, err
}

// appendLine appends a line to a file in one write, so that lines of several processes don't mix.
func appendLine(file, line string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(append([]byte(line), '\n'))
	return err
}

func countLines(file string) int {
	b, _ := os.ReadFile(file)
	return bytes.Count(b, []byte{'\n'})
}
