package server

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

func newCallContext() *callContext {
	return &callContext{base: context.WithValue(context.Background(), keyWorker, (*worker)(nil)), id: 1}
}

func TestContextOfACall(t *testing.T) {
	t.Parallel()
	c := newCallContext()
	if _, ok := c.Deadline(); ok || c.Err() != nil {
		t.Error("it has a deadline, or has ended")
	}
	done := c.Done()
	if done != c.Done() {
		t.Error("two channels")
	}
	if !c.cancel() || c.cancel() {
		t.Error("cancel does not tell the first time from the second")
	}
	<-done
	<-c.Done()
	if c.Err() != context.Canceled || !errors.Is(context.Cause(c), context.Canceled) {
		t.Errorf("%v", c.Err())
	}
	late := newCallContext() // whose channel is asked for when it has ended
	late.cancel()
	<-late.Done()
}

func TestContextsDerivedFromACalls(t *testing.T) {
	t.Parallel()
	c := newCallContext()
	derived, cancel := context.WithTimeout(context.WithValue(c, contextKey(99), "value"), time.Hour)
	defer cancel()
	if derived.Value(contextKey(99)) != "value" || derived.Value(keyCall) != c {
		t.Error("values are lost")
	}
	ran := make(chan struct{}, 2)
	stop := context.AfterFunc(c, func() { t.Error("it ran after it was stopped") })
	context.AfterFunc(c, func() { ran <- struct{}{} })
	if !stop() || stop() {
		t.Error("stop does not tell the first time from the second")
	}
	c.cancel()
	<-derived.Done()
	<-ran
	context.AfterFunc(c, func() { ran <- struct{}{} }) // it has ended already
	<-ran
	child, cancelChild := context.WithCancel(c)
	defer cancelChild()
	if child.Err() == nil {
		t.Error("a child of an ended context has not ended")
	}
}

func TestContextIsUsedByMany(t *testing.T) {
	t.Parallel()
	c := newCallContext()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				ctx, cancel := context.WithCancel(c)
				c.Err()
				cancel()
				<-ctx.Done()
			}
			<-c.Done()
		})
	}
	c.cancel()
	all.Wait()
	if n := len(c.after); n > 0 {
		t.Errorf("%d functions are left", n)
	}
}

func TestMeta(t *testing.T) {
	t.Parallel()
	c := newCallContext()
	if Meta(c) != nil || Meta(context.Background()) != nil {
		t.Error("there is some where nobody sent any")
	}
	c.meta = map[string]any{wire.MetaUser: map[string]any{"a": "b", "n": 1}}
	if m := Meta(c); len(m) != 1 || m["a"] != "b" {
		t.Errorf("%v", m)
	}
	c.meta = map[string]any{wire.MetaUser: "something else"}
	if m := Meta(c); m != nil {
		t.Errorf("%v", m)
	}
}

func TestLoggerAfterTheCall(t *testing.T) {
	t.Parallel()
	c := newCallContext()
	l := Logger(c)
	l.Info("during")
	if logs := c.takeLogs(); logs == nil || len(logs.Logs) != 1 {
		t.Fatalf("%+v", logs)
	}
	l.Info("after")
	l.With("k", "v").Named("n").Error("after")
	if logs := c.takeLogs(); logs != nil {
		t.Errorf("%+v", logs)
	}
	Logger(context.Background()).Error("nowhere")
}
