//go:build linux || darwin

package tail_test

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/tail"
)

func newPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func TestReaderReadsToTheEnd(t *testing.T) {
	t.Parallel()
	r, w := newPipe(t)
	go func() { w.Write(text(1 << 20)); w.Close() }()
	if got, err := io.ReadAll(&tail.Reader{File: r}); err != nil || !bytes.Equal(got, text(1<<20)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A pipe that somebody holds open is read until it is empty, also when its deadline has passed before the first Read.
func TestReaderReadsWhatIsThereAfterTheDeadline(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 60_000} {
		r, w := newPipe(t)
		w.Write(text(size))
		r.SetReadDeadline(time.Unix(1, 0))
		if got, err := io.ReadAll(&tail.Reader{File: r}); err != nil || !bytes.Equal(got, text(size)) {
			t.Errorf("%d bytes of %d, %v", len(got), size, err)
		}
	}
}

func TestReaderLetsGoOfAWriterThatGoesOn(t *testing.T) {
	t.Parallel()
	r, w := newPipe(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := w.Write(text(4096)); err != nil {
				return
			}
		}
	}()
	reader := &tail.Reader{File: r}
	if _, err := io.ReadFull(reader, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	r.SetReadDeadline(time.Unix(1, 0))
	if n, err := io.Copy(io.Discard, reader); err != nil || n > 2<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	r.Close()
	<-done
}
