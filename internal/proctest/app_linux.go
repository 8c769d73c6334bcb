package proctest

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// App is a test binary in such a mode, in a process group and a session of its own.
type App struct {
	*exec.Cmd
	Mark  string        // of all its processes; see InTree
	Lines Lines         // of its standard output
	Ended chan struct{} // closed when it was reaped and all its lines were read
}

// StartApp starts this test binary in a mode, with additions to the environment.
func StartApp(t testing.TB, mode string, env ...string) *App {
	t.Helper()
	a := NewApp("/proc/self/exe", mode, env...)
	a.Launch(t)
	return a
}

// NewApp is StartApp for another program, and without the start: the command may be changed before Launch.
func NewApp(path, mode string, env ...string) *App {
	a := &App{Cmd: exec.Command(path), Mark: NewMark(), Lines: NewLines(), Ended: make(chan struct{})}
	a.Env = append(append(os.Environ(), EnvApp+"="+mode, EnvMark+"="+a.Mark), env...)
	a.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	a.Stderr = os.Stderr
	return a
}

// Launch starts it. At the test's end it is killed, and nothing may be left of it.
func (a *App) Launch(t testing.TB) {
	t.Helper()
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	a.Stdout = w
	err = a.Start()
	w.Close()
	if err != nil {
		out.Close()
		t.Fatal(err)
	}
	go func() {
		defer close(a.Ended)
		defer out.Close()
		for r := bufio.NewReader(out); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				a.Wait()
				return
			}
			a.Lines.Add(strings.TrimSuffix(line, "\n"))
		}
	}()
	t.Cleanup(func() {
		a.Process.Kill()
		<-a.Ended
		Gone(t, a.Mark, Survival)
	})
}

// Says waits for a line with that beginning, and returns the rest of it.
func (a *App) Says(t testing.TB, begin string) string {
	t.Helper()
	return a.Lines.Says(t, begin)
}

// Pid waits for a line with that beginning, and returns the process id in its rest.
func (a *App) Pid(t testing.TB, begin string) int {
	t.Helper()
	pid, err := strconv.Atoi(a.Says(t, begin))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
