//go:build unix

package keepalive_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/keepalive"
)

const patience = 10 * time.Second // no wait takes longer

// envMode makes the test binary one of the processes of a test: "watch" watches descriptor 3, "hold" starts as many of
// those as its second word says and holds their pipe until its standard input ends.
const envMode = "BULLPEN_KEEPALIVE_TEST"

func TestMain(m *testing.M) {
	mode, count, _ := strings.Cut(os.Getenv(envMode), " ")
	switch mode {
	case "watch":
		watchUntilGone()
	case "hold":
		holdOn(len(count))
	}
	os.Exit(m.Run())
}

func watchUntilGone() {
	gone := make(chan struct{})
	if _, err := keepalive.Watch(os.NewFile(3, "keepalive"), func() { close(gone) }); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("watching")
	<-gone
	fmt.Println("gone")
	os.Exit(0)
}

func holdOn(watchers int) {
	_, child, err := keepalive.New() // dropped: that must not close it
	if err != nil {
		panic(err)
	}
	for range watchers {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envMode+"=watch")
		cmd.Stdout = os.Stdout
		cmd.ExtraFiles = []*os.File{child}
		if err := cmd.Start(); err != nil {
			panic(err)
		}
	}
	child.Close()
	runtime.GC()
	io.Copy(io.Discard, os.Stdin) // for as long as the test lives
	os.Exit(0)
}

func newPipe(t *testing.T) (*keepalive.Hold, *os.File) {
	t.Helper()
	hold, child, err := keepalive.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hold.Close(); child.Close() })
	return hold, child
}

// watch returns a watcher and a channel that gets a value each time it is told.
func watch(t *testing.T, end *os.File) (*keepalive.Watcher, chan struct{}) {
	t.Helper()
	gone := make(chan struct{}, 2)
	w, err := keepalive.Watch(end, func() { gone <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w, gone
}

func receive(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s did not come within %v", what, patience)
	}
}

func TestWatcherIsToldWhenThePipeIsClosed(t *testing.T) {
	t.Parallel()
	hold, child := newPipe(t)
	_, gone := watch(t, child)
	select {
	case <-gone:
		t.Fatal("told before the pipe was closed")
	default:
	}
	if err := hold.Close(); err != nil {
		t.Fatal(err)
	}
	receive(t, "the end", gone)
}

func TestWatcherOfAClosedPipeIsToldAtOnce(t *testing.T) {
	t.Parallel()
	hold, child := newPipe(t)
	hold.Close()
	_, gone := watch(t, child)
	receive(t, "the end", gone)
}

func TestSecondCloseDoesNothing(t *testing.T) {
	t.Parallel()
	hold, _ := newPipe(t)
	for range 2 {
		if err := hold.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var none *keepalive.Hold
	if err := none.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestStopEndsTheWatchInSilence(t *testing.T) {
	t.Parallel()
	hold, child := newPipe(t)
	stopped, gone := watch(t, child)
	stopped.Stop()
	stopped.Stop()
	hold.Close()
	// A second pipe, closed later, shows that there was time to be told.
	later, end := newPipe(t)
	_, told := watch(t, end)
	later.Close()
	receive(t, "the end of the other pipe", told)
	select {
	case <-gone:
		t.Fatal("told after Stop")
	default:
	}
}

func TestStopFromWithinTheCallback(t *testing.T) {
	t.Parallel()
	hold, child := newPipe(t)
	ready, done := make(chan struct{}), make(chan struct{})
	var w *keepalive.Watcher
	w, err := keepalive.Watch(child, func() { <-ready; w.Stop(); close(done) })
	if err != nil {
		t.Fatal(err)
	}
	close(ready)
	hold.Close()
	receive(t, "the callback's end", done)
}

func TestWatchRefusesWhatIsNotAPipe(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	_, closed := newPipe(t)
	closed.Close()
	for name, f := range map[string]*os.File{"nil": nil, "file": file, "device": null, "closed": closed, "not open": os.NewFile(1<<20, "none")} {
		if _, err := keepalive.Watch(f, func() { t.Errorf("%s: told", name) }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What os/exec starts must not change the mode of an end that another process watches.
func TestStartingAChildLeavesTheOthersWatching(t *testing.T) {
	t.Parallel()
	hold, child := newPipe(t)
	fd := dup(t, child)
	_, gone := watch(t, fd)
	cmd := exec.Command("true")
	cmd.ExtraFiles = []*os.File{child}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if !nonblocking(t, child) {
		t.Error("os/exec has made the pipe's end blocking")
	}
	hold.Close()
	receive(t, "the end", gone)
}

func TestDroppedHoldIsNotClosedByTheGarbageCollector(t *testing.T) {
	t.Parallel()
	_, child, err := keepalive.New() // its Hold is dropped; the pipe stays open for the rest of this process
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := os.Pipe() // what happens to an ordinary pipe
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.SetReadDeadline(time.Now().Add(patience))
	closed := make(chan error, 1)
	go func() {
		_, err := r.Read(make([]byte, 1))
		closed <- err
	}()
	for {
		runtime.GC()
		select {
		case err := <-closed:
			if err != io.EOF {
				t.Fatalf("the ordinary pipe was not collected: %v", err)
			}
			if hungUp(t, child) {
				t.Fatal("the keepalive pipe was closed by the garbage collector")
			}
			child.Close()
			return
		default:
		}
	}
}

func TestAllWatchersAreToldWhenTheHolderIsKilled(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envMode+"=hold xx")
	if _, err := cmd.StdinPipe(); err != nil { // closed by Wait
		t.Fatal(err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	out.SetReadDeadline(time.Now().Add(patience))
	lines := bufio.NewScanner(out)
	expect := func(want string) {
		t.Helper()
		for range 2 {
			if !lines.Scan() || lines.Text() != want {
				t.Fatalf("a watcher said %q (%v) instead of %q", lines.Text(), lines.Err(), want)
			}
		}
	}
	expect("watching")
	cmd.Process.Kill()
	cmd.Wait()
	expect("gone")
}
