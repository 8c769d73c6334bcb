// Package role tells what a process of this binary is: the app, the server of a service, or a worker. A parent that
// re-executes the binary marks the child's environment; the child's init here, before any code of the user's main
// package, takes the mark out again and ties the process to its parent.
package role

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Role is what a process is.
type Role string

const (
	App    Role = ""       // the user's process, or a program without bullpen
	Server Role = "server" // spawns and watches workers
	Worker Role = "worker" // serves one connection
)

// The descriptors of either role, both ends in one place: whoever spawns passes them in this order, and the role
// finds them under these numbers. 0 is /dev/null, 1 and 2 are pipes that the parent reads.
const (
	ServerControl   = 3 // socket to the app: package control
	ServerKeepalive = 4 // pipe from the app
	ServerListeners = 5 // the first of the listeners that the app has bound

	WorkerLink       = 3 // socket to the server: package control
	WorkerKeepalive  = 4 // pipe from the server
	WorkerScoreboard = 5 // the worker's slot lies in this file
)

const (
	envMark       = "BULLPEN_ROLE"
	envWorker     = "BULLPEN_WORKER"
	envGOMAXPROCS = "GOMAXPROCS"
	markVersion   = "1"
)

var (
	current    Role
	parent     int
	runners    = map[Role]func(){}
	dispatched atomic.Bool
	tooEarly   atomic.Bool // Init was called from an init function
)

// WorkerSetting is the setting that all of a worker's descendants have in their environment, as long as they keep it:
// "BULLPEN_WORKER=PID.NUMBER", of its server's pid and the worker's number.
func WorkerSetting(server, number int) string {
	return ServerSetting(server) + strconv.Itoa(number)
}

// ServerSetting is how the settings of all of a server's workers begin.
func ServerSetting(server int) string { return envWorker + "=" + strconv.Itoa(server) + "." }

// Mark returns the environment for a child in the given role. procs, if not 0, sets its GOMAXPROCS; the child's own
// children get the app's setting again. Further settings are added.
func Mark(env []string, r Role, procs int, settings ...string) []string {
	before, had := "", "0"
	out := make([]string, 0, len(env)+2)
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, envGOMAXPROCS+"="); ok && procs != 0 {
			before, had = v, "1"
			continue
		}
		if strings.HasPrefix(kv, envMark+"=") || strings.HasPrefix(kv, envWorker+"=") {
			continue
		}
		out = append(out, kv)
	}
	if procs != 0 {
		out = append(out, envGOMAXPROCS+"="+strconv.Itoa(procs))
	} else {
		had = "-"
	}
	mark := []string{markVersion, string(r), strconv.Itoa(os.Getpid()), had, before}
	return append(append(out, settings...), envMark+"="+strings.Join(mark, ":"))
}

func init() {
	mark, ok := os.LookupEnv(envMark)
	if !ok {
		return
	}
	os.Unsetenv(envMark)
	f := strings.SplitN(mark, ":", 5)
	if len(f) != 5 || f[0] != markVersion {
		quit(fmt.Sprintf("the parent process is another version of bullpen (mark %q)", mark))
	}
	current = Role(f[1])
	parent, _ = strconv.Atoi(f[2])
	switch f[3] {
	case "0":
		os.Unsetenv(envGOMAXPROCS)
	case "1":
		os.Setenv(envGOMAXPROCS, f[4])
	}
	adopt(current, parent)
}

// Build identifies the program that runs, to tell two versions of a program apart on one machine.
var Build = sync.OnceValue(build)

// Current returns the role of this process.
func Current() Role { return current }

// Parent returns the pid of the process that spawned this one, for roles other than App.
func Parent() int { return parent }

// Register says what a process in the role r does. Packages call it from their init functions.
func Register(r Role, run func()) { runners[r] = run }

// Dispatch runs the process's role, and does not return if it isn't the app's.
func Dispatch() {
	if fromInit() {
		if current != App {
			quit(earlyText)
		}
		tooEarly.Store(true)
		return
	}
	if !dispatched.CompareAndSwap(false, true) || current == App {
		return
	}
	run := runners[current]
	if run == nil {
		quit(fmt.Sprintf("this program has no role %q: it doesn't link what its parent links", current))
	}
	run()
	os.Exit(0)
}

// Dispatched reports whether Dispatch has been called from where it should be.
func Dispatched() bool { return dispatched.Load() }

const (
	earlyText = "forkserver.Init was called from an init function or a package variable, where callbacks from C " +
		"hang: call it as the first line of main (and of TestMain)"
	missingText = "forkserver.Init has not been called: write forkserver.Init() as the first line of main; in a test " +
		"package add func TestMain(m *testing.M) { forkserver.Init(); os.Exit(m.Run()) }"
)

// CheckApp returns an error unless this process may spawn others of its binary. A child that gets here has run past
// the place where Init should be: it ends, so that it can't spawn children of its own.
func CheckApp() error {
	if current != App && !dispatched.Load() {
		quit(missingText)
	}
	if tooEarly.Load() && !dispatched.Load() {
		return fmt.Errorf("bullpen: %s", earlyText)
	}
	if !dispatched.Load() {
		return fmt.Errorf("bullpen: %s", missingText)
	}
	return nil
}

// quit ends a process that can't take its role. The parent forwards what it says.
func quit(why string) {
	fmt.Fprintf(os.Stderr, "bullpen: %s\n", why)
	os.Exit(3)
}

// fromInit reports whether package initialization is still running on this goroutine.
func fromInit() bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasPrefix(f.Function, "runtime.doInit") {
			return true
		}
		if !more {
			return false
		}
	}
}
