package lane_test

import (
	"errors"
	"io"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/lane"
)

func TestStream(t *testing.T) {
	t.Parallel()
	for ring := lane.MinRing; ring <= lane.MaxRing; ring *= 16 {
		t.Run(strconv.Itoa(ring), func(t *testing.T) {
			t.Parallel()
			t.Run("another process", func(t *testing.T) {
				t.Parallel()
				p := start(t, "stream", ring)
				if err := exchange(p.end, 1, 2); err != nil {
					t.Fatal(err)
				}
				p.wait(t)
			})
			t.Run("the same process", func(t *testing.T) { // for the race detector
				t.Parallel()
				app, worker, _, _ := ends(t, ring)
				app.Begin(now(), many) // so that both give their cores away
				other := make(chan error, 1)
				go func() { other <- stream(worker) }()
				if err := errors.Join(exchange(app, 1, 2), <-other); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// While a stream goes both ways, every second wait is ended by a deadline.
func TestStreamWithDeadlines(t *testing.T) {
	t.Parallel()
	a, b := bells(t)
	m := create(t, lane.MinRing)
	app := lane.NewApp(m, &hastyBell{netBell: a}, now, new(lane.Network))
	worker := lane.NewWorker(open(t, int(m.File().Fd())), &hastyBell{netBell: b})
	other := make(chan error, 1)
	go func() { other <- stream(worker) }()
	if err := errors.Join(exchange(app, 1, 2), <-other); err != nil {
		t.Error(err)
	}
}

type hastyBell struct {
	*netBell
	waits int
}

func (b *hastyBell) Wait() error {
	if b.waits++; b.waits%2 == 0 {
		return os.ErrDeadlineExceeded
	}
	return b.netBell.Wait()
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	app, worker, a, _ := ends(t, lane.MinRing)
	a.SetReadDeadline(time.Unix(1, 0))
	buf := make([]byte, 100)
	if n, err := app.Read(buf); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read of nothing: %d, %v", n, err)
	}
	n, err := app.Write(make([]byte, lane.MinRing+1))
	if n != lane.MinRing || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write of more than there is room for: %d, %v", n, err)
	}
	if _, err := worker.Write([]byte("reply")); err != nil {
		t.Fatal(err)
	}
	if n, err := app.Read(buf); string(buf[:n]) != "reply" || err != nil {
		t.Errorf("Read of what is there, though the deadline has passed: %q, %v", buf[:n], err)
	}
	a.SetReadDeadline(time.Time{})
	wrote := make(chan error, 1)
	go func() {
		_, err := app.Write([]byte{1})
		wrote <- err
	}()
	if _, err := io.ReadFull(worker, make([]byte, lane.MinRing+1)); err != nil {
		t.Error(err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

func TestPeerKilled(t *testing.T) {
	t.Parallel()
	t.Run("writing", func(t *testing.T) {
		t.Parallel()
		p := start(t, "gush", lane.DefaultRing)
		buf := make([]byte, 1000)
		for range 1000 {
			if _, err := p.end.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
		kill(t, p, func() error { _, err := p.end.Read(buf); return err })
	})
	t.Run("reading", func(t *testing.T) {
		t.Parallel()
		p := start(t, "deaf", lane.MinRing)
		kill(t, p, func() error { _, err := p.end.Write(make([]byte, 100)); return err })
	})
	t.Run("asleep", func(t *testing.T) {
		t.Parallel()
		p := start(t, "echo", lane.MinRing)
		if _, err := p.end.Write(message(1)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		if _, err := io.ReadFull(p.end, buf[:5]); err != nil {
			t.Fatal(err)
		}
		kill(t, p, func() error { _, err := p.end.Read(buf); return err })
	})
}

// kill kills the process while do is done again and again, until it fails.
func kill(t *testing.T, p *process, do func() error) {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		for {
			if err := do(); err != nil {
				failed <- err
				return
			}
		}
	}()
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		t.Log(err)
	case <-time.After(patience):
		t.Error("no error after the peer was killed")
		p.bell.Close()
		<-failed
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	t.Run("while others read and write", func(t *testing.T) {
		t.Parallel()
		a, b := bells(t)
		m := create(t, lane.MinRing)
		worker := lane.NewWorker(open(t, int(m.File().Fd())), b)
		app := lane.NewApp(m, a, now, new(lane.Network))
		go gush(worker)
		errs := make(chan error, 2)
		begun := make(chan struct{})
		go func() {
			buf := make([]byte, 50)
			_, err := app.Read(buf)
			close(begun)
			for err == nil {
				_, err = app.Read(buf)
			}
			errs <- err
		}()
		go func() { errs <- gush(app) }()
		<-begun
		if err := errors.Join(m.Close(), m.Close()); err != nil {
			t.Error(err)
		}
		a.Close()
		for range 2 {
			if err := <-errs; !errors.Is(err, lane.ErrClosed) || !errors.Is(err, os.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
	})
	t.Run("and later calls", func(t *testing.T) {
		t.Parallel()
		m := create(t, lane.MinRing)
		a, _ := bells(t)
		app := lane.NewApp(m, a, now, new(lane.Network))
		m.Close()
		if _, err := app.Read(make([]byte, 1)); !errors.Is(err, lane.ErrClosed) {
			t.Errorf("Read: %v", err)
		}
		if _, err := app.Write([]byte{1}); !errors.Is(err, lane.ErrClosed) {
			t.Errorf("Write: %v", err)
		}
		if m.File() != nil || m.CloseFile() != nil {
			t.Error("Close has left the file")
		}
	})
}
