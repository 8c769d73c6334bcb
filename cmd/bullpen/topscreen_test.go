//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// terminal is a run of the command in a terminal of tmux's.
type terminal struct {
	t      *testing.T
	socket string
}

func openTerminal(t *testing.T, width, height int, args ...string) *terminal {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("there is no tmux, which gives this test a terminal: apt-get install tmux")
	}
	dir, err := os.MkdirTemp("", "tmux") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	x := &terminal{t, filepath.Join(dir, "s")}
	t.Cleanup(func() { x.tmux("kill-server") })
	command := fmt.Sprintf("%s %s; echo ended with $?; sleep 1000", binary, strings.Join(args, " "))
	c := exec.Command("tmux", "-S", x.socket, "-f", "/dev/null", "-u", "new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), command)
	c.Env = append(os.Environ(), "SHELL=/bin/sh") // a user who may not log in has none that runs a command
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return x
}

func (x *terminal) tmux(args ...string) string {
	out, _ := exec.Command("tmux", append([]string{"-S", x.socket}, args...)...).Output()
	return string(out)
}

// shows waits until the terminal shows what the pattern says, and returns all that it shows.
func (x *terminal) shows(pattern string) string {
	x.t.Helper()
	re := regexp.MustCompile(pattern)
	var pane string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if pane = x.tmux("capture-pane", "-p"); re.MatchString(pane) {
			return pane
		}
	}
	x.t.Fatalf("the terminal doesn't show %s, but\n%s", pattern, pane)
	return ""
}

func TestTopScreen(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{80, 24}, {200, 50}} {
		t.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(t *testing.T) {
			t.Parallel()
			a := startTopped(t)
			x := openTerminal(t, size[0], size[1], "top", "--interval", "100ms", a.pid())
			pane := x.shows(`(?s)running +hold \?\[7m日本 .*k kill`)
			lines := strings.Split(strings.TrimRight(pane, "\n"), "\n")
			if last := lines[len(lines)-1]; len(lines) != size[1] || !strings.Contains(last, "k kill") {
				t.Errorf("%d lines, the last is %q", len(lines), last)
			}
			if all := strings.Contains(pane, "CALLS "); all != (size[0] == 200) || !strings.Contains(pane, "queue 1") {
				t.Errorf("the columns are not those of the width:\n%s", pane)
			}
			if dir := os.Getenv("BULLPEN_PANES"); dir != "" { // for whoever wants to look
				os.WriteFile(filepath.Join(dir, fmt.Sprintf("top-%dx%d.txt", size[0], size[1])), []byte(pane), 0o666)
			}
			for _, row := range regexp.MustCompile(`(?m)^ +\d+ +(\d+) `).FindAllStringSubmatch(pane, -1) {
				if row[1] == fmt.Sprint(a.held) {
					break
				}
				x.tmux("send-keys", "Down") // the first one is selected at first
			}
			x.tmux("send-keys", "k")
			x.shows(fmt.Sprintf(`kill worker \d+, pid %d\? y/n`, a.held))
			x.tmux("send-keys", "n")
			x.shows(`k kill  r retire`)
			x.tmux("send-keys", "k", "y")
			x.shows(fmt.Sprintf(`worker \d+, pid %d, was killed`, a.held))
			if line := a.says(t, "held:"); !strings.Contains(line, "signal 9") {
				t.Error(line)
			}
			x.tmux("send-keys", "q")
			x.shows("ended with 0")
		})
	}
}

func TestTopScreenEndsWithTheApp(t *testing.T) {
	t.Parallel()
	a := startTopped(t)
	x := openTerminal(t, 80, 24, "top", "--interval", "100ms", a.pid())
	x.shows("queue 1")
	a.Process.Kill()
	a.Wait()
	x.shows(`(?s)Error: there is no process .*ended with 1`)
}
