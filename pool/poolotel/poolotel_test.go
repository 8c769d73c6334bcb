//go:build linux || darwin

package poolotel_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	api "go.opentelemetry.io/otel/trace"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/pool/poolotel"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

const patience = time.Minute

var service = server.NewService("tested", server.Hooks{})

// seen is what a handler sees of the trace.
type seen struct {
	Trace, Span, Parent, Kind string
	Baggage, Mine             string
}

var look = server.Handle(service, "look", func(ctx context.Context, _ string) (seen, error) {
	spans := tracetest.NewInMemoryExporter()
	c := poolotel.Config{TracerProvider: trace.NewTracerProvider(trace.WithSyncer(spans))}
	inside, span := c.Start(ctx, "handler")
	span.End()
	s := spans.GetSpans()[0]
	return seen{s.SpanContext.TraceID().String(), s.SpanContext.SpanID().String(), s.Parent.SpanID().String(), s.SpanKind.String(),
		baggage.FromContext(inside).Member("user").Value(), server.Meta(ctx)["mine"]}, nil
})

var crash = server.Handle0(service, "crash", func(context.Context) (wire.None, error) { os.Exit(3); return wire.None{}, nil })

func TestMain(m *testing.M) {
	forkserver.Init()
	os.Exit(m.Run())
}

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// traced returns a pool of one worker whose spans are kept.
func traced(t *testing.T, p propagation.TextMapPropagator) (*pool.Pool, *tracetest.InMemoryExporter, api.Tracer) {
	t.Helper()
	srv, err := forkserver.Start(limited(t), service, forkserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	spans := tracetest.NewInMemoryExporter()
	provider := trace.NewTracerProvider(trace.WithSyncer(spans))
	workers, err := pool.New(srv, pool.Config{MinWorkers: -1, MaxWorkers: 1, Measure: true,
		Observer: poolotel.Config{TracerProvider: provider, Propagator: p}.Observer()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { workers.Close() })
	return workers, spans, provider.Tracer("test")
}

func attributes(s tracetest.SpanStub) map[attribute.Key]attribute.Value {
	m := map[attribute.Key]attribute.Value{}
	for _, a := range s.Attributes {
		m[a.Key] = a.Value
	}
	return m
}

func TestTraceOfACall(t *testing.T) {
	t.Parallel()
	workers, spans, tracer := traced(t, nil)
	user, err := baggage.NewMember("user", "me")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.New(user)
	if err != nil {
		t.Fatal(err)
	}
	ctx, root := tracer.Start(baggage.ContextWithBaggage(limited(t), bag), "root")
	mine := map[string]string{"mine": "1"}
	var got seen
	call := &wire.Call{Method: "look", Args: []any{""}, Reply: &got, Meta: mine}
	if err := workers.Do(ctx, call); err != nil { // waits for its worker to start
		t.Fatal(err)
	}
	root.End()
	all := spans.GetSpans()
	if len(all) != 3 || all[0].Name != "wait for a worker" || all[1].Name != "look" || all[2].Name != "root" {
		t.Fatalf("spans: %+v", all)
	}
	wait, span := all[0], all[1]
	if wait.Parent.SpanID() != span.SpanContext.SpanID() || span.Parent.SpanID() != root.SpanContext().SpanID() || span.SpanKind != api.SpanKindClient {
		t.Errorf("the wait is below %s, the call %s below %s, the root is %s", wait.Parent.SpanID(), span.SpanContext.SpanID(), span.Parent.SpanID(), root.SpanContext().SpanID())
	}
	want := seen{Trace: root.SpanContext().TraceID().String(), Span: got.Span, Parent: span.SpanContext.SpanID().String(), Kind: "server", Baggage: "me", Mine: "1"}
	if got != want {
		t.Errorf("the handler sees\n%+v instead of\n%+v", got, want)
	}
	if len(mine) != 1 {
		t.Errorf("the caller's map is now %v", mine)
	}
	a := attributes(span)
	if a[poolotel.Pool].AsString() != "tested" || a[poolotel.Method].AsString() != "look" || a[poolotel.Pid].AsInt64() != int64(call.Pid) ||
		a[poolotel.Queued].AsFloat64() != call.Cost.Queued.Seconds() || a[poolotel.Run].AsFloat64() != call.Cost.Run.Seconds() ||
		a[poolotel.CPU].AsFloat64() <= 0 || a[poolotel.PeakRSS].AsInt64() <= 0 {
		t.Errorf("the call's span has %v", span.Attributes)
	}
	if waited := wait.EndTime.Sub(wait.StartTime); waited <= 0 || waited > span.EndTime.Sub(span.StartTime) {
		t.Errorf("the wait took %v", waited)
	}
}

func TestErrorsAreInSpans(t *testing.T) {
	t.Parallel()
	workers, spans, _ := traced(t, nil)
	_, err := crash.Call(limited(t), workers)
	all := spans.GetSpans()
	span := all[len(all)-1]
	if err == nil || span.Status.Code != codes.Error || span.Status.Description != err.Error() || len(span.Events) != 1 {
		t.Errorf("the call ended with %v, its span with %+v and %+v", err, span.Status, span.Events)
	}
	spans.Reset()
	co, err := workers.Checkout(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	defer co.Release()
	_, err = crash.Call(limited(t), workers.With(pool.CheckoutConfig{Timeout: time.Millisecond}))
	for _, s := range spans.GetSpans()[1:] { // after the checkout's own wait
		if err == nil || s.Status.Code != codes.Error {
			t.Errorf("the call waited in vain (%v), its span %q has %+v", err, s.Name, s.Status)
		}
	}
}

// A call without a method, and another propagator. What nobody has sent, nobody finds.
func TestOtherPropagator(t *testing.T) {
	t.Parallel()
	workers, spans, _ := traced(t, propagation.Baggage{})
	workers.Call(limited(t), nil, "") // there is no such method
	var got seen
	if err := workers.Call(limited(t), &got, "look", ""); err != nil {
		t.Fatal(err)
	}
	if strings.Trim(got.Parent, "0") != "" {
		t.Errorf("without a trace context the handler's span is below %s", got.Parent)
	}
	found := false
	for _, s := range spans.GetSpans() {
		found = found || s.Name == "call"
	}
	if !found {
		t.Errorf("spans: %+v", spans.GetSpans())
	}
}

// TestExample runs the example, and follows its trace from the app into the worker.
func TestExample(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "example")
	if out, err := exec.CommandContext(limited(t), "go", "build", "-o", program, "./example").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.CommandContext(limited(t), program).Output()
	if err != nil {
		t.Fatal(err)
	}
	type span struct{ process, trace, id, parent string }
	spans := map[string]span{}
	for _, m := range regexp.MustCompile(`span "(.*)" of (\w+): trace (\w+), span (\w+), parent (\w+)`).FindAllStringSubmatch(string(out), -1) {
		spans[m[1]] = span{m[2], m[3], m[4], m[5]}
	}
	above := "0000000000000000"
	for _, s := range []struct{ name, process string }{{"request", "app"}, {"upper", "app"}, {"handler", "worker"}, {"convert", "worker"}} {
		got := spans[s.name]
		if got.process != s.process || got.parent != above || got.trace != spans["request"].trace {
			t.Errorf("span %q is %+v\n%s", s.name, got, out)
		}
		above = got.id
	}
}
