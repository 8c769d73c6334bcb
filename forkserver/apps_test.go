//go:build linux

package forkserver_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var (
	programsOnce sync.Once
	programsDir  string
	programsErr  error
)

// program builds the programs of ../testdata that these tests run, once, and returns the path of one.
func program(t *testing.T, name string) string {
	t.Helper()
	programsOnce.Do(func() {
		if programsDir, programsErr = os.MkdirTemp("", "bullpen-test"); programsErr != nil {
			return
		}
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", programsDir+"/", "../testdata/nohook",
			"../testdata/initfromhook", "../testdata/otherservice")
		if out, err := cmd.CombinedOutput(); err != nil {
			programsErr = fmt.Errorf("%w: %s", err, out)
		}
	})
	if programsErr != nil {
		t.Fatal(programsErr)
	}
	return filepath.Join(programsDir, name)
}
