package role

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestBuildIsThePrograms(t *testing.T) {
	t.Parallel()
	before := build()
	if before == "" || before != Build() {
		t.Fatalf("%q, and %q", before, Build())
	}
	now := time.Now().Add(time.Hour)
	if err := os.Chtimes("/proc/self/exe", now, now); err != nil {
		t.Skip(err)
	}
	if after := build(); after != before {
		t.Errorf("%q was %q before the file was touched", after, before)
	}
}

// idOf returns the id of a program's file.
func idOf(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return buildID(f)
}

func TestBuildIDs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := func(name, text string, flags ...string) string {
		source := filepath.Join(dir, name+".go")
		if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(\""+text+"\") }\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, name)
		cmd := exec.Command("go", append(append([]string{"build", "-o", out}, flags...), source)...)
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		return out
	}
	one, two := idOf(t, program("one", "one")), idOf(t, program("two", "two"))
	if one == nil || bytes.Equal(one, two) {
		t.Errorf("two programs have the ids %q and %q", one, two)
	}
	if self := idOf(t, "/proc/self/exe"); self == nil || bytes.Equal(self, one) {
		t.Errorf("this program's is %q", self)
	}
	if id := idOf(t, program("none", "none", "-ldflags=-buildid= -B=none")); id != nil {
		t.Errorf("a program without an id: %q", id)
	}
}

// Whatever is in a file, looking for an id does no harm.
func TestBuildIDOfBrokenFiles(t *testing.T) {
	t.Parallel()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2000 {
		buildID(bytes.NewReader(self[:n]))
	}
	head := bytes.Clone(self[:4<<10])
	for i := range 1000 {
		was := head[i]
		head[i] = 0xff
		buildID(bytes.NewReader(head))
		head[i] = was
	}
}
