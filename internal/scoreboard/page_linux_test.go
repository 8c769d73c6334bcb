package scoreboard_test

import (
	"os"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/scoreboard"
)

// pages returns the names of this process's pages, by the pool's name.
func pages(t *testing.T) map[string]string {
	t.Helper()
	names := map[string]string{}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		name := "/proc/self/fd/" + fd.Name()
		if target, _ := os.Readlink(name); target != "/memfd:"+scoreboard.Pool+" (deleted)" {
			continue
		}
		if f, err := os.Open(name); err == nil {
			if p, err := scoreboard.ReadPage(f); err == nil {
				names[p.Name] = name
			}
			f.Close()
		}
	}
	return names
}

func TestPageIsFoundUntilItIsClosed(t *testing.T) {
	t.Parallel()
	p := scoreboard.Publish("a pool\x1b")
	p.Waiting = 3
	p.Checkouts = 4
	p.Wait.Counts[2].Add(5)
	p.Run.Sum.Add(int64(time.Second))
	name := pages(t)["a pool?"]
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := scoreboard.ReadPage(f)
	if err != nil || r.Waiting != 3 || r.Checkouts != 4 || r.Wait.Counts[2] != 5 || r.Run.Sum != time.Second || r.Uptime <= 0 {
		t.Errorf("%v: %+v", err, r)
	}
	if w, err := os.OpenFile(name, os.O_RDWR, 0); err == nil {
		if _, err := w.WriteAt([]byte{1}, 0); err == nil {
			t.Error("others can write to it")
		}
		w.Close()
	}
	f.Close()
	p.Close()
	p.Waiting++ // who still has it may write
	if pages(t)["a pool?"] != "" {
		t.Error("a page that was closed is found")
	}
	p.Close()
}
