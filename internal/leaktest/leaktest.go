// Package leaktest finds what tests leave behind: goroutines, descriptors and processes, zombies among them.
//
// Of a whole package, after forkserver.Init:
//
//	func TestMain(m *testing.M) {
//		forkserver.Init()
//		os.Exit(leaktest.Main(m))
//	}
//
// Of one test that doesn't run beside others:
//
//	func TestIt(t *testing.T) {
//		leaktest.Check(t)
//		...
//
// What ends a moment after a test is not a leak: both look again until nothing is left, for patience at most.
package leaktest

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

const patience = 5 * time.Second

// Main runs a package's tests and returns the exit code, which is 1 also if they have left something behind.
func Main(m interface{ Run() int }) int {
	before := take()
	code := m.Run()
	if code != 0 {
		return code
	}
	if leaks := before.wait(patience); len(leaks) > 0 {
		fmt.Fprintf(os.Stderr, "the tests have left behind:\n\n%s\n", strings.Join(leaks, "\n\n"))
		return 1
	}
	return 0
}

// Check fails the test if it leaves something behind. Call it first, so that the test's own cleanup comes before it.
// It is not for parallel tests.
func Check(t testing.TB) {
	t.Helper()
	before := take()
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		if leaks := before.wait(patience); len(leaks) > 0 {
			t.Errorf("the test has left behind:\n\n%s", strings.Join(leaks, "\n\n"))
		}
	})
}

// snapshot is what there is at one moment: what identifies a thing → what describes it.
type snapshot map[string]string

// prepare makes what would look like a leak of the first test, the runtime's poller. It puts a mark into the
// environment, by which descendants are found that have lost their parents.
var prepare = sync.OnceFunc(func() {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	mark()
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0") // else every child of a race build sleeps for a second in os.Exit
	}
})

func take() snapshot {
	prepare()
	s := snapshot{}
	s.addGoroutines()
	s.addFiles()
	s.addProcesses()
	return s
}

// wait looks until there is nothing that wasn't there before, and returns what is left when the time is over.
func (s snapshot) wait(d time.Duration) []string {
	pause := time.Millisecond
	for end := time.Now().Add(d); ; {
		leaks := s.leaks()
		if len(leaks) == 0 || time.Now().After(end) {
			return leaks
		}
		runtime.GC() // what only a finalizer closes is found by other tests
		time.Sleep(pause)
		pause = min(2*pause, 100*time.Millisecond)
	}
}

// leaks returns what there is now and wasn't before.
func (s snapshot) leaks() []string {
	var leaks []string
	for id, text := range take() {
		if _, was := s[id]; !was {
			leaks = append(leaks, text)
		}
	}
	sort.Strings(leaks)
	return leaks
}

// notOurs are marks in the stack of goroutines that live as long as the process.
var notOurs = []string{
	"created by testing.",
	"testing.(*M).Run(",
	"created by os/signal.",
	"os/signal.signal_recv(",
	"created by runtime.",
	"internal/process.init.", // the thread that spawns
}

func (s snapshot) addGoroutines() {
	buf := make([]byte, 64<<10)
	n := runtime.Stack(buf, true)
	for n == len(buf) {
		buf = make([]byte, 2*len(buf))
		n = runtime.Stack(buf, true)
	}
	stacks := strings.Split(strings.TrimSpace(string(buf[:n])), "\n\n")
next:
	for _, stack := range stacks[1:] { // the first is this one
		for _, mark := range notOurs {
			if strings.Contains(stack, mark) {
				continue next
			}
		}
		id, _, _ := strings.Cut(stack, " [")
		s[id] = stack
	}
}
