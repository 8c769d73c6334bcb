package bare

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	Init()
	os.Exit(m.Run())
}

// start starts a worker that ends with the test.
func start(t *testing.T, spec Spec) *Worker {
	t.Helper()
	w, err := Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// checkEcho echoes texts that fit into the buffers, and some that don't.
func checkEcho(t *testing.T, w *Worker) {
	t.Helper()
	for _, text := range []string{"hello", "", strings.Repeat("x", 4000)} {
		if reply, err := w.Echo(text); err != nil || reply != text {
			t.Fatalf("the echo of %d bytes has %d (%v)", len(text), len(reply), err)
		}
	}
	for _, size := range []int{1, 4 << 10, 5 << 20} {
		b := bytes.Repeat([]byte("abc"), size)
		if reply, err := w.EchoBytes(b); err != nil || !bytes.Equal(reply, b) {
			t.Fatalf("the echo of %d bytes has %d (%v)", len(b), len(reply), err)
		}
	}
}

func TestEcho(t *testing.T) {
	for _, read := range []Read{Poller, Blocking, Raw} {
		t.Run(string(read), func(t *testing.T) { checkEcho(t, start(t, Spec{Read: read, Procs: 1})) })
	}
}

func TestHandOver(t *testing.T) {
	w := start(t, Spec{Read: Raw, HandOver: true})
	if err := w.Ready(); err != nil {
		t.Fatal(err)
	}
	if err := w.HandOver(); err != nil {
		t.Fatal(err)
	}
	checkEcho(t, w)
}

// TestPauses checks that a probe runs while a worker echoes.
func TestPauses(t *testing.T) {
	w := start(t, Spec{Read: Blocking, Procs: 1})
	if err := w.BeginPauses(); err != nil {
		t.Fatal(err)
	}
	checkEcho(t, w)
	r, err := w.EndPauses()
	if err != nil || r.GCs == 0 || r.Timers == 0 || r.GCWorst < r.GCMedian || r.GCMedian <= 0 {
		t.Errorf("%+v (%v)", r, err)
	}
	if r, err := w.EndPauses(); err != nil || r.GCs != 0 {
		t.Errorf("after the end: %+v (%v)", r, err)
	}
}
