//go:build linux

package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/internal/transcripts"
	"github.com/bullpen-go/bullpen/server"
)

// recorded does what the service did with which testdata/transcripts were recorded.
var recorded = server.NewService("recorded", server.Hooks{CheckoutDone: func(context.Context) error { released++; return nil }})

// In a worker: how often counter was called, and how many checkouts were released.
var counted, released = 100, 0

func init() {
	server.HandleAny(recorded, func(ctx context.Context, r *server.Request) (any, error) {
		args, err := r.Args()
		if err != nil {
			return nil, err
		}
		switch r.Method {
		case "echo":
			return args, nil
		case "counter":
			counted++
			return counted, nil
		case "done_count":
			return released, nil
		case "die":
			return nil, errors.New("ouch: " + args[0].(string) + "\n")
		case "big":
			return strings.Repeat("x", int(args[0].(int64))), nil
		case "undef":
			return nil, nil
		case "exit":
			os.Exit(1)
		case "hang":
			select {}
		case "log":
			server.Logger(ctx).Info("hello from worker", "k", "v")
			server.Logger(ctx).Warn("careful")
			server.Timer(ctx, "junk")()
			return 1, nil
		case "logdie":
			server.Logger(ctx).Warn("something weird")
			return nil, errors.New("uh oh\n")
		case "code":
			return func() {}, nil
		case "object":
			return nil, errors.New("interface returned object: Some::Class=(Some::Class=HASH(0x55b86866b290))")
		case "reset":
			counted, released = 100, 0
			return nil, nil
		}
		if r.Method == "" {
			return args, nil
		}
		return append([]any{r.Method}, args...), nil
	})
}

// TestTranscriptsAgainstWorkers plays the recorded clients to real workers: cut in two at every byte, byte by byte, and
// glued together. The workers must answer as the recorded ones did.
func TestTranscriptsAgainstWorkers(t *testing.T) {
	t.Parallel()
	scenarios, err := transcripts.Load("../testdata/transcripts")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := server.Listen(recorded, "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &server.Server{Service: recorded, Limits: server.Limits{HungTimeout: time.Second}}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
	for _, sc := range scenarios {
		for _, conn := range sc.Conns {
			said := conn.Said(true)
			if said == "" {
				continue // a client that connected in advance
			}
			t.Run(sc.Name, func(t *testing.T) {
				t.Parallel()
				c := &recordedClient{t: t, want: conn.Said(false)}
				c.connect(path)
				if c.want == "" { // the worker ended under the call
					c.play(said)
					c.ends()
					return
				}
				step := max(1, len(said)/200)
				for n := 0; n < len(said); n += step {
					c.play(said[:n], said[n:])
					c.again()
				}
				c.play(said)
				c.again()
				if len(said) < 1000 {
					c.play(strings.Split(said, "")...)
				}
			})
		}
	}
}

// recordedClient plays a recorded client.
type recordedClient struct {
	t       *testing.T
	c       *net.UnixConn
	replies *json.Decoder
	want    string // what the recorded worker said
}

func (c *recordedClient) connect(path string) {
	c.t.Helper()
	nc, err := net.Dial("unix", path)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(3 * patience))
	c.c = nc.(*net.UnixConn)
	c.replies = json.NewDecoder(nc)
}

// play sends the pieces, each when the one before was read, and checks the replies.
func (c *recordedClient) play(pieces ...string) {
	c.t.Helper()
	for _, p := range pieces {
		if _, err := c.c.Write([]byte(p)); err != nil {
			c.t.Fatal(err)
		}
		if len(pieces) > 1 {
			c.read()
		}
	}
	want, err := transcripts.Messages(c.want)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, w := range want {
		var got []any
		if err := c.replies.Decode(&got); err != nil {
			c.t.Fatalf("pieces %.300q: %v instead of %v", pieces, err, w)
		}
		if !reflect.DeepEqual(likened(got), likened(w)) {
			c.t.Fatalf("pieces %.300q: %v instead of %v", pieces, got, w)
		}
	}
}

// again brings the worker back to its beginning.
func (c *recordedClient) again() {
	c.t.Helper()
	if _, err := io.WriteString(c.c, `["do",{},"reset"]`); err != nil {
		c.t.Fatal(err)
	}
	var got []any
	if err := c.replies.Decode(&got); err != nil {
		c.t.Fatal(err)
	}
}

// read waits until the worker has read all that was sent.
func (c *recordedClient) read() {
	raw, err := c.c.SyscallConn()
	if err != nil {
		c.t.Fatal(err)
	}
	unread := 1
	proctest.Eventually(c.t, "the worker reads what was sent", func() bool {
		raw.Control(func(fd uintptr) { unread, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		return err != nil || unread == 0
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// ends checks that the worker ends without an answer.
func (c *recordedClient) ends() {
	c.t.Helper()
	var got []any
	if err := c.replies.Decode(&got); err == nil {
		c.t.Errorf("it answered %v", got)
	}
}

// likened takes out of a message what differs from run to run: times, addresses, and words of the implementation.
func likened(m []any) []any {
	if meta, ok := m[1].(map[string]any); ok {
		delete(meta, "err")
		if ld, ok := meta["ld"].(map[string]any); ok {
			delete(ld, "start")
			for _, key := range []string{"logs", "timers"} {
				list, _ := ld[key].([]any)
				for _, e := range list {
					rec := e.([]any)
					for i := range rec {
						if _, number := rec[i].(float64); number && !(key == "logs" && i == 1) {
							rec[i] = "a time"
						}
					}
				}
			}
		}
	}
	if text, ok := m[2].(string); ok && m[0] == "er" && (strings.Contains(text, "encod") || strings.Contains(text, "HASH")) {
		m[2] = "an error of encoding"
	}
	return m
}
