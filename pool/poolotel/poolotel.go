// Package poolotel traces calls with OpenTelemetry. It is a module of its own, so that a program without OpenTelemetry
// links none of it.
//
// In the app, a pool's observer makes a span of each call, with a span in it of the wait for a worker if there was one:
//
//	workers, err := pool.New(srv, pool.Config{Observer: poolotel.Config{}.Observer()})
//
// In the worker, a handler goes on with the trace:
//
//	var hash = server.Handle(passwords, "hash", func(ctx context.Context, plaintext string) (string, error) {
//		ctx, span := poolotel.Config{}.Start(ctx, "hash")
//		defer span.End()
//		...
//
// A worker is a process: it needs a tracer provider of its own, and Hooks.Setup is the place to make it. It may end after
// any call, so export each span as it ends (sdk/trace.WithSyncer), or call ForceFlush in Hooks.CheckoutDone.
//
// The command in the folder example shows all of it.
package poolotel

import (
	"context"
	"maps"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

// Config says where spans go. Its zero value is useful.
type Config struct {
	// TracerProvider makes the spans. Default: OpenTelemetry's global one, at the time of each span.
	TracerProvider trace.TracerProvider
	// Propagator writes the trace context into a call's Meta, and reads it there. Default: OpenTelemetry's global one if it
	// was set, otherwise W3C's trace context and baggage.
	Propagator propagation.TextMapPropagator
}

const scope = "github.com/bullpen-go/bullpen/pool/poolotel"

// The attributes of a call's span. The times are in seconds. CPU and PeakRSS are there if the call was measured, see
// wire.Call.Measure.
const (
	Pool    = attribute.Key("bullpen.pool")       // its name
	Method  = attribute.Key("bullpen.method")     // of the call
	Pid     = attribute.Key("process.pid")        // of the worker, if its wire tells
	Queued  = attribute.Key("bullpen.queued")     // until it was sent
	Run     = attribute.Key("bullpen.run")        // of the handler
	CPU     = attribute.Key("bullpen.cpu")        // processor time of the worker
	PeakRSS = attribute.Key("bullpen.memory.max") // of the worker, in bytes
)

func (c Config) tracer() trace.Tracer {
	if c.TracerProvider != nil {
		return c.TracerProvider.Tracer(scope)
	}
	return otel.GetTracerProvider().Tracer(scope)
}

var w3c = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})

func (c Config) propagator() propagation.TextMapPropagator {
	if c.Propagator != nil {
		return c.Propagator
	}
	if global := otel.GetTextMapPropagator(); len(global.Fields()) > 0 { // the one that nobody has set has none
		return global
	}
	return w3c
}

// Observer returns an observer for pool.Config.Observer, which makes a span of each call: a client's, with the method's
// name, that begins with Do or Go, ends with the call, and has its error. One observer may serve many pools.
func (c Config) Observer() *pool.Observer {
	return &pool.Observer{
		CallStart: c.callStart,
		CallEnd:   callEnd,
		WaitStart: func(ctx context.Context, e pool.WaitStart) context.Context {
			ctx, _ = c.tracer().Start(ctx, "wait for a worker", trace.WithTimestamp(e.Since), trace.WithAttributes(Pool.String(e.Pool)))
			return ctx
		},
		WaitEnd: func(ctx context.Context, e pool.WaitEnd) {
			span := trace.SpanFromContext(ctx)
			setPid(span, e.Pid)
			end(span, e.Err)
		},
	}
}

func (c Config) callStart(ctx context.Context, e pool.CallStart) context.Context {
	name := e.Call.Method
	if name == "" {
		name = "call"
	}
	ctx, _ = c.tracer().Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(Pool.String(e.Pool), Method.String(e.Call.Method)))
	meta := propagation.MapCarrier(maps.Clone(e.Call.Meta)) // the map is the caller's
	if meta == nil {
		meta = propagation.MapCarrier{}
	}
	c.propagator().Inject(ctx, meta)
	e.Call.Meta = meta
	return ctx
}

func callEnd(ctx context.Context, e pool.CallEnd) {
	span := trace.SpanFromContext(ctx)
	cost := e.Call.Cost
	setPid(span, e.Call.Pid)
	span.SetAttributes(Queued.Float64(cost.Queued.Seconds()), Run.Float64(cost.Run.Seconds()))
	if cost.PeakRSS != 0 {
		span.SetAttributes(CPU.Float64(cost.CPU.Seconds()), PeakRSS.Int64(cost.PeakRSS))
	}
	end(span, e.Err)
}

func setPid(span trace.Span, pid int) {
	if pid != 0 {
		span.SetAttributes(Pid.Int(pid))
	}
}

func end(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// Start starts a span in a worker: a server's, and a child of the call's span in the app, if the caller has sent one. ctx
// is a handler's. The caller of Start must End the span.
func (c Config) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	ctx = c.propagator().Extract(ctx, propagation.MapCarrier(server.Meta(ctx)))
	options = append([]trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}, options...)
	return c.tracer().Start(ctx, name, options...)
}
