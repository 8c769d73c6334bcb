//go:build linux

package forkserver_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func nothing(context.Context) (wire.None, error) { return wire.None{}, nil }

var (
	twice       = server.NewService("twice", server.Hooks{})
	secondTwice = server.NewService("twice", server.Hooks{})
	nameless    = server.NewService("", server.Hooks{})

	doubled = server.NewService("two methods", server.Hooks{})
	_       = server.Handle0(doubled, "same", nothing)
	_       = server.Handle0(doubled, "same", nothing)

	nofunc = server.NewService("no function", server.Hooks{})
	_      = server.Handle0[wire.None](nofunc, "nil", nil)

	unnamed = server.NewService("method without name", server.Hooks{})
	_       = server.Handle0(unnamed, "", nothing)

	twoAny = server.NewService("two any", server.Hooks{})

	lateMethod = server.NewService("late method", server.Hooks{})
)

func init() {
	for range 2 {
		server.HandleAny(twoAny, func(context.Context, *server.Request) (any, error) { return nil, nil })
	}
}

func TestMistakesInADeclaration(t *testing.T) {
	t.Parallel()
	late := server.NewService("late "+proctest.NewMark(), server.Hooks{})
	server.Handle0(lateMethod, proctest.NewMark(), nothing)
	for _, test := range []struct {
		s    *server.Service
		says string
	}{
		{nil, "NewService"},
		{late, "after forkserver.Init"},
		{lateMethod, "after forkserver.Init"},
		{secondTwice, `two services are named "twice"`},
		{nameless, "without a name"},
		{doubled, `two methods "same"`},
		{nofunc, `"nil" of service "no function" has no function`},
		{unnamed, "method without a name"},
		{twoAny, "two HandleAny"},
	} {
		_, err := tryStart(t, context.Background(), test.s, forkserver.Config{})
		if err == nil || !strings.Contains(err.Error(), test.says) || !strings.HasPrefix(err.Error(), "bullpen: ") {
			t.Errorf("%q: %v", test.says, err)
		}
	}
}

func TestFirstOfTwoServicesWithOneNameWorks(t *testing.T) {
	t.Parallel()
	start(t, twice, forkserver.Config{})
}

func TestAddressesThatAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	live, err := net.Listen("unix", path("live"))
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if err := os.WriteFile(path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		address string
		says    string
		is      error
	}{
		{"tcp:" + l.Addr().String(), "", syscall.EADDRINUSE},
		{"tcp:0.0.0.0:0", "loopback", nil},
		{":0", "loopback", nil},
		{"[::]:0", "loopback", nil},
		{"tcp:192.0.2.1:7000", "loopback", nil},
		{"unix:@abstract", "abstract", nil},
		{path("live"), "another server answers", nil},
		{path("file"), "not a socket", nil},
		{path("none/socket"), "", fs.ErrNotExist},
		{"unix:", "no address", nil},
		{"", "no address", nil},
		{"127.0.0.1", "missing port", nil},
	} {
		good := path("good")
		_, err := tryStart(t, context.Background(), basic, forkserver.Config{Listen: []string{good, test.address}})
		if err == nil || !strings.Contains(err.Error(), test.says) || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%q: %v", test.address, err)
		}
		if !strings.Contains(err.Error(), strings.TrimPrefix(strings.TrimPrefix(test.address, "unix:"), "tcp:")) {
			t.Errorf("%q is not named by %v", test.address, err)
		}
	}
	if left := files(t, dir); len(left) != 2 { // live and file
		t.Errorf("left in the directory: %v", left)
	}
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestPathsThatDoNotStart(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "socket")
	begin := func(c forkserver.Config) error {
		t.Helper()
		c.Listen = []string{socket}
		_, err := tryStart(t, context.Background(), basic, c)
		if err == nil {
			t.Errorf("%s started", c.Path)
			return errors.New("none")
		}
		if _, serr := os.Lstat(socket); !errors.Is(serr, fs.ErrNotExist) {
			t.Errorf("%s: the socket file is still there: %v", c.Path, serr)
		}
		return err
	}
	if err := begin(forkserver.Config{Path: "/nonexistent/program"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
	if err := begin(forkserver.Config{Path: "/etc/passwd"}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("no program: %v", err)
	}
	if err := begin(forkserver.Config{Dir: "/nonexistent"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if err := begin(forkserver.Config{Path: "/bin/sleep"}); !strings.Contains(err.Error(), "missing operand") {
		t.Errorf("a program that ends: what it says is not in %v", err)
	}
	if err := begin(forkserver.Config{Path: "/bin/true"}); !strings.Contains(err.Error(), "forkserver.Init()") {
		t.Errorf("a program that ends in silence: %v", err)
	}
}

// script writes a program that is not one of bullpen's.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestProgramsThatNeverAnswer(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{
		"waits":                   script(t, "sleep 1000"),
		"waits for its child":     script(t, "sleep 1000 & wait"),
		"prints without end":      script(t, "while :; do echo no; done"),
		"closes what it is given": script(t, "exec 3>&- 4>&- >&- 2>&-; sleep 1000"),
		"keeps signals off":       script(t, "trap '' INT TERM HUP CONT; sleep 1000"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			// Setup data that doesn't fit into the socket must not make it wait longer.
			_, err := tryStart(t, context.Background(), basic, forkserver.Config{Path: path, StartTimeout: 200 * time.Millisecond,
				SetupData: strings.Repeat("x", 4<<20)})
			if err == nil || !strings.Contains(err.Error(), "StartTimeout (200ms)") {
				t.Errorf("%v", err)
			}
			if took := time.Since(begin); took > soon {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := tryStart(t, canceled, basic, forkserver.Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled before: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := tryStart(t, ctx, basic, forkserver.Config{Path: script(t, "sleep 1000")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("its deadline has passed: %v", err)
	}
}

func TestContextOfStartBoundsTheStartOnly(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	tr, err := tryStart(t, ctx, basic, forkserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	p := newPool(t, tr, poolConfig)
	if got, err := echo.Call(proctest.Limited(t), p, "after"); got != "after" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestSetupDataThatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	if _, err := tryStart(t, context.Background(), basic, forkserver.Config{SetupData: make(chan int)}); err == nil ||
		!strings.Contains(err.Error(), "SetupData") {
		t.Errorf("%v", err)
	}
}

// A failed Start leaves no descriptor.
func TestFailedStartsLeaveNoDescriptor(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	dir := t.TempDir()
	tryStart(t, context.Background(), basic, forkserver.Config{Path: "/bin/true"}) // what is opened once and for all
	before := count()
	for range 5 {
		tryStart(t, context.Background(), basic, forkserver.Config{Path: "/bin/true", Listen: []string{filepath.Join(dir, "s")}})
		tryStart(t, context.Background(), basic, forkserver.Config{Path: "/nonexistent", Listen: []string{"127.0.0.1:0"}})
		tryStart(t, context.Background(), basic, forkserver.Config{Dir: "/nonexistent"})
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors instead of %d", after, before)
	}
}
