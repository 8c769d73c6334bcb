//go:build linux

package forkserver_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bullpen-go/bullpen/internal/proctest"
)

var (
	cgoOnce sync.Once
	cgoErr  error
	cgoPath string
)

// cgoProgram builds ../testdata/cgo, once.
func cgoProgram(t *testing.T) string {
	t.Helper()
	program(t, "nohook") // there is programsDir now
	out, _ := exec.Command("go", "env", "CGO_ENABLED", "CC").Output()
	enabled, cc, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if enabled != "1" {
		t.Skip("cgo is off")
	}
	if _, err := exec.LookPath(strings.Fields(cc + " ")[0]); err != nil {
		t.Skipf("there is no C compiler: %v", err)
	}
	cgoOnce.Do(func() {
		cgoPath = filepath.Join(programsDir, "cgo")
		if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", cgoPath, "../testdata/cgo").CombinedOutput(); err != nil {
			cgoErr = fmt.Errorf("%w: %s", err, out)
		}
	})
	if cgoErr != nil {
		t.Fatal(cgoErr)
	}
	return cgoPath
}

// What crashes in C is told like what crashes in Go, and what loops there is ended from outside.
func TestWorkerInC(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ how, died, says string }{
		{"null", "died: crashed 0", "SIGSEGV: segmentation violation"},
		{"abort", "died: crashed 0", "SIGABRT: abort"},
		{"hung", "died: hung 9", ""},
	} {
		t.Run(test.how, func(t *testing.T) {
			t.Parallel()
			a := proctest.NewApp(cgoProgram(t), "", "HOW="+test.how)
			a.Launch(t)
			if died := a.Says(t, "died:"); "died: "+died != test.died {
				t.Errorf("it %s", died)
			}
			if text := a.Says(t, "stderr: "); !strings.Contains(text, test.says) {
				t.Errorf("its stderr: %s", text)
			}
			if text := a.Says(t, "error: "); !strings.Contains(text, test.says) {
				t.Errorf("the error: %s", text)
			}
			<-a.Ended
		})
	}
}

// A worker that loops in C ends with its app, also while its server is stopped.
func TestWorkerInCEndsWithItsApp(t *testing.T) {
	t.Parallel()
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprint("server stopped: ", stopped), func(t *testing.T) {
			t.Parallel()
			a := proctest.NewApp(cgoProgram(t), "", "HOW=loop")
			a.Launch(t)
			a.Says(t, "log: in C")
			if srv := a.Pid(t, "server "); stopped {
				stop(t, srv)
			}
			a.Process.Signal(os.Kill)
			<-a.Ended
			proctest.Gone(t, a.Mark, survival)
		})
	}
}
