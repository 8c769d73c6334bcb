package leaktest

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv("LEAKTEST_CHILD") != "" {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(Main(m))
}

// found fails the test unless exactly one new thing is found, and its description contains text.
func found(t *testing.T, s snapshot, text string) {
	t.Helper()
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		leaks := s.leaks()
		if len(leaks) == 1 && strings.Contains(leaks[0], text) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("found %q instead of one thing with %q", leaks, text)
		}
	}
}

func gone(t *testing.T, s snapshot) {
	t.Helper()
	if leaks := s.wait(patience); len(leaks) > 0 {
		t.Fatalf("still found %q", leaks)
	}
}

func TestGoroutine(t *testing.T) {
	s, stop := take(), make(chan struct{})
	go func() { <-stop }()
	found(t, s, "TestGoroutine")
	close(stop)
	gone(t, s)
}

func TestFile(t *testing.T) {
	needProc(t)
	s := take()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	found(t, s, os.DevNull)
	f.Close()
	gone(t, s)
}

func TestProcessAndZombie(t *testing.T) {
	needProc(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := take()
	child, err := os.StartProcess(os.Args[0], os.Args[:1], &os.ProcAttr{
		Env: append(os.Environ(), "LEAKTEST_CHILD=1"), Files: []*os.File{r}})
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	pidfd := 0
	for _, l := range before.leaks() {
		if strings.Contains(l, "pidfd") {
			pidfd++ // os.Process has one
		}
	}
	if n := len(before.leaks()); n != 1+pidfd {
		t.Errorf("%d things are new beside %d pidfds, instead of one process: %q", n-pidfd, pidfd, before.leaks())
	}
	w.Close()
	waitFor(t, func() bool { return strings.Contains(strings.Join(before.leaks(), ""), "state Z") })
	if _, err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	gone(t, before)
}

// TestOrphan finds a grandchild whose parent has ended.
func TestOrphan(t *testing.T) {
	needProc(t)
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := take()
	sh := exec.Command("sh", "-c", `exec 3<&0; "$0" <&3 &`, os.Args[0])
	sh.Env = append(os.Environ(), "LEAKTEST_CHILD=1")
	sh.Stdin = r
	if err := sh.Run(); err != nil {
		t.Fatal(err)
	}
	found(t, s, "process ")
	r.Close()
	w.Close()
	gone(t, s)
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

func needProc(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
}
