//go:build linux || darwin

package bullpen_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// needCgo skips the test where no C can be compiled.
func needCgo(t *testing.T) {
	t.Helper()
	out, _ := exec.Command("go", "env", "CGO_ENABLED", "CC").Output()
	enabled, cc, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if enabled != "1" {
		t.Skip("cgo is off")
	}
	if _, err := exec.LookPath(strings.Fields(cc + " ")[0]); err != nil {
		t.Skipf("there is no C compiler: %v", err)
	}
}

// checkUnit has systemd look at a unit, if it is there, and looks at its form otherwise.
func checkUnit(t *testing.T, b *block) {
	section := ""
	for line := range strings.Lines(b.text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case regexp.MustCompile(`^\[(Unit|Service|Install)\]$`).MatchString(line):
			section = line
		case section == "" || !regexp.MustCompile(`^[A-Z]\w+=\S`).MatchString(line):
			t.Errorf("%s: %q is not a setting of a section", b.name(), line)
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		return // its form is all that can be checked
	}
	file := filepath.Join(t.TempDir(), "program.service")
	write(t, file, b.text)
	out, err := exec.Command("systemd-analyze", "verify", file).CombinedOutput()
	if err != nil || strings.Contains(string(out), "program.service") {
		t.Errorf("%s: %v\n%s", b.name(), err, out)
	}
}

var instructions = []string{"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT"}

// checkDockerfile looks at the form: to build it takes a daemon and the network.
func checkDockerfile(t *testing.T, b *block) {
	first := ""
	for line := range strings.Lines(b.text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if first == "" {
			first = word
		}
		if word != "" && (!slices.Contains(instructions, word) || rest == "") {
			t.Errorf("%s: %q is not an instruction", b.name(), line)
		}
	}
	if first != "FROM" {
		t.Errorf("%s: it begins with %q", b.name(), first)
	}
}

// An app can be the first process of a PID namespace. GUIDE.md says what happens there.
func TestPID1(t *testing.T) {
	switch {
	case runtime.GOOS != "linux":
		t.Skip("there are no PID namespaces here")
	case os.Geteuid() != 0:
		t.Skip("only root may make a PID namespace")
	}
	t.Parallel()
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skipf("there is no unshare: %v", err)
	}
	args := []string{"--pid", "--fork", "--mount-proc", "--kill-child"}
	if out, err := exec.Command(unshare, append(args, "true")...).CombinedOutput(); err != nil {
		t.Skipf("this machine makes no PID namespace: %v: %s", err, out)
	}
	program := filepath.Join(t.TempDir(), "pid1")
	run(t, ".", "go", "build", "-buildvcs=false", "-o", program, "./testdata/pid1")
	const want = `pid 1
call <nil>
orphan reaped
healed
close <nil>
zombies of the killed server's workers: true
`
	if got := run(t, ".", unshare, append(args, program)...); got != want {
		t.Errorf("it prints\n%s\ninstead of\n%s", got, want)
	}
}
