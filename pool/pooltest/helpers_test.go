package pooltest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/leaktest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/pool/pooltest"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func TestMain(m *testing.M) {
	forkserver.Init() // for the tests that compare with real workers
	os.Exit(leaktest.Main(m))
}

const patience = 20 * time.Second

type settings struct {
	Greeting string
	FailAt   int // the worker whose Setup fails
}

var svc = server.NewService("pooltest", server.Hooks{
	Setup: func(ctx context.Context) error {
		s, _ := server.SetupData[settings](ctx)
		server.Logger(ctx).Info("set up", "greeting", s.Greeting)
		if s.FailAt > 0 {
			return wire.WithCode(errors.New("setup is no good"), "NOSETUP")
		}
		return nil
	},
	CheckoutDone: func(context.Context) error { return nil }, // so that releases are acknowledged
})

var (
	echo  = server.Handle(svc, "echo", func(_ context.Context, s string) (string, error) { return s, nil })
	pid   = server.Handle0(svc, "pid", func(context.Context) (int, error) { return os.Getpid(), nil })
	greet = server.Handle0(svc, "greet", func(ctx context.Context) (string, error) {
		s, err := server.SetupData[settings](ctx)
		server.Logger(ctx).Info("greeting", "meta", server.Meta(ctx)["who"])
		return s.Greeting, err
	})
	fail    = server.Handle0(svc, "fail", func(context.Context) (wire.None, error) { return wire.None{}, wire.WithCode(errors.New("no"), "NO") })
	explode = server.Handle0(svc, "explode", func(context.Context) (wire.None, error) { panic("boom") })
	goexit  = server.Handle0(svc, "goexit", func(context.Context) (wire.None, error) { runtime.Goexit(); return wire.None{}, nil })
	// wait waits for its context's end.
	wait = server.Handle0(svc, "wait", func(ctx context.Context) (wire.None, error) {
		<-ctx.Done()
		return wire.None{}, ctx.Err()
	})
	// deaf says that it has begun, and waits for the end that a test gives, whatever its context says.
	deaf = server.Handle(svc, "deaf", func(_ context.Context, key string) (wire.None, error) {
		v, _ := gates.Load(key)
		close(v.(gate).begun)
		<-v.(gate).end
		return wire.None{}, nil
	})
	gates sync.Map // the test's name → gate
	bulk  = server.Handle(svc, "bulk", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
)

// gate is how a test and a handler in its process meet.
type gate struct{ begun, end chan struct{} }

func newGate(t *testing.T) gate {
	g := gate{make(chan struct{}), make(chan struct{})}
	gates.Store(t.Name(), g)
	return g
}

// inProcess returns a dialer that is closed at the test's end.
func inProcess(t *testing.T, c pooltest.Config) *pooltest.Dialer {
	t.Helper()
	d := pooltest.InProcess(svc, c)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func newPool(t *testing.T, d pool.Dialer, c pool.Config) *pool.Pool {
	t.Helper()
	p, err := pool.New(d, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// records is a logger's sink.
type records struct {
	mu  sync.Mutex // guards all
	all []string
}

func newLogger() (hclog.Logger, *records) {
	r := &records{}
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
	l.RegisterSink(r)
	return l, r
}

// Accept implements hclog.SinkAdapter.
func (r *records) Accept(_ string, _ hclog.Level, msg string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, msg+fmt.Sprint(args...))
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprint(r.all)
}
