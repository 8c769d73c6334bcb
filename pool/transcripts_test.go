//go:build linux || darwin

package pool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/transcripts"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

// recordedWorker plays a recorded worker on each connection that it is given, cut in two at one byte.
type recordedWorker struct {
	conns []*transcripts.Conn
	cut   int // of all that the worker says on a connection; every byte on its own if negative

	mu   sync.Mutex // guards all below
	next int
	errs []error
	work sync.WaitGroup
}

// Dial implements pool.Dialer.
func (w *recordedWorker) Dial(context.Context) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next == len(w.conns) {
		return nil, errors.New("the recorded client has made no more connections")
	}
	conn := w.conns[w.next]
	w.next++
	theirs, ours := net.Pipe() // a write returns when it was read: each piece is one read of the pool's
	w.work.Go(func() {
		defer ours.Close()
		if err := w.play(conn, ours); err != nil {
			w.mu.Lock()
			w.errs = append(w.errs, err)
			w.mu.Unlock()
		}
	})
	return theirs, nil
}

func (w *recordedWorker) play(conn *transcripts.Conn, c net.Conn) error {
	c.SetDeadline(time.Now().Add(patience))
	heard := json.NewDecoder(c)
	said := 0
	for _, turn := range conn.Turns {
		if !turn.Client {
			if err := w.say(c, turn.Data, said); err != nil {
				return err
			}
			if said += len(turn.Data); turn.Close {
				return nil
			}
			continue
		}
		want, err := transcripts.Messages(turn.Data)
		if err != nil {
			return err
		}
		for _, m := range want {
			var got []any
			if err := heard.Decode(&got); err != nil || !reflect.DeepEqual(got, m) {
				return fmt.Errorf("the pool said %v (%w) instead of %v", got, err, m)
			}
		}
		if turn.Close {
			if rest, err := io.ReadAll(io.MultiReader(heard.Buffered(), c)); err != nil || strings.TrimSpace(string(rest)) != "" {
				return fmt.Errorf("instead of closing the pool said %q (%w)", rest, err)
			}
			return nil
		}
	}
	return nil
}

// say writes a part of the worker's stream, which has begun with from bytes.
func (w *recordedWorker) say(c net.Conn, data string, from int) error {
	pieces := []string{data}
	if n := w.cut - from; n > 0 && n < len(data) {
		pieces = []string{data[:n], data[n:]}
	}
	if w.cut < 0 {
		pieces = strings.Split(data, "")
	}
	for _, p := range pieces {
		if _, err := io.WriteString(c, p); err != nil {
			return err
		}
	}
	return nil
}

// TestTranscriptsAgainstThePool has a pool make the calls of the recorded clients, and plays the recorded workers to it,
// cut at every byte. It must say what those clients said, and understand what the workers answered.
func TestTranscriptsAgainstThePool(t *testing.T) {
	t.Parallel()
	scenarios, err := transcripts.Load("../testdata/transcripts")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			var conns []*transcripts.Conn // those that were used
			longest := 0
			for _, c := range s.Conns {
				if c.Said(true) != "" {
					conns = append(conns, c)
					longest = max(longest, len(c.Said(false)))
				}
			}
			for cut := 0; cut <= longest; cut += max(1, longest/500) {
				playRecorded(t, s.Name, &recordedWorker{conns: conns, cut: cut})
			}
			if longest < 1000 {
				playRecorded(t, s.Name, &recordedWorker{conns: conns, cut: -1})
			}
		})
	}
}

func playRecorded(t *testing.T, name string, w *recordedWorker) {
	t.Helper()
	config := pool.Config{Name: "recorded", Wire: wire.JSON, MinWorkers: -1, MaxWorkers: 1, Timeout: patience}
	switch name {
	case "keep_after_error":
		config.ReuseAfterError = true
	case "max_checkouts":
		config.MaxCheckouts = 2
	case "timeout":
		config.Timeout = time.Second
	}
	p, err := pool.New(w, config)
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range w.conns {
		replies, err := transcripts.Messages(conn.Said(false))
		if err != nil {
			t.Fatal(err)
		}
		calls, err := transcripts.Messages(conn.Said(true))
		if err != nil {
			t.Fatal(err)
		}
		var co *pool.Checkout
		for _, m := range calls {
			if m[0] == "dn" {
				co.Release()
				co = nil
				continue
			}
			if co == nil {
				if co, err = p.Checkout(limited(t)); err != nil {
					t.Fatal(err)
				}
			}
			var reply any
			err := co.Do(limited(t), &wire.Call{Method: m[2].(string), Args: m[3:], Reply: &reply})
			if len(replies) == 0 {
				checkNoReply(t, name, err)
				continue
			}
			checkReply(t, replies[0], reply, err)
			replies = replies[1:]
		}
		if co != nil {
			co.Release()
		}
	}
	p.Close()
	w.work.Wait()
	if len(w.errs) > 0 {
		t.Fatalf("cut at byte %d: %v", w.cut, errors.Join(w.errs...))
	}
}

// checkReply checks what a call returned whose recorded reply is want.
func checkReply(t *testing.T, want []any, got any, err error) {
	t.Helper()
	if want[0] == "er" {
		if re := as[*wire.RemoteError](t, err); re.Message != want[2] {
			t.Fatalf("%q instead of %q", re.Message, want[2])
		}
		return
	}
	text, _ := json.Marshal(got)
	wanted, _ := json.Marshal(want[2])
	if err != nil || string(text) != string(wanted) {
		t.Fatalf("%s, %v instead of %s", text, err, wanted)
	}
}

// checkNoReply checks the error of a call that the recorded worker did not answer.
func checkNoReply(t *testing.T, name string, err error) {
	t.Helper()
	if name == "timeout" {
		as[*pool.TimeoutError](t, err)
		return
	}
	as[*pool.WorkerDiedError](t, err)
}

// TestTranscribedLogsAreReplayed has the records and timers of a recorded worker arrive in the logger.
func TestTranscribedLogsAreReplayed(t *testing.T) {
	t.Parallel()
	scenarios, err := transcripts.Load("../testdata/transcripts")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios {
		if s.Name != "log" {
			continue
		}
		logs := newRecords()
		w := &recordedWorker{conns: s.Conns[:1], cut: -1}
		p := newPool(t, w, pool.Config{Wire: wire.JSON, MaxWorkers: 1, Logger: logs})
		co := checkout(t, p)
		must[int](t)(wire.NewMethod0[int]("log").Call(limited(t), co))
		_, err := wire.NewMethod0[int]("logdie").Call(limited(t), co)
		as[*wire.RemoteError](t, err)
		var got []string
		for _, r := range logs.get() {
			got = append(got, fmt.Sprint(r.level, " ", r.text))
		}
		if want := []string{"info hello from worker", "warn careful", "debug timer", "warn something weird"}; !reflect.DeepEqual(got, want) {
			t.Errorf("%q instead of %q", got, want)
		}
		return
	}
	t.Fatal("there is no such transcript")
}
