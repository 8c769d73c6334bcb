// The command example traces calls from an app into its workers, and prints the spans of both.
//
//	go run ./example
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/pool/poolotel"
	"github.com/bullpen-go/bullpen/server"
)

var words = server.NewService("words", server.Hooks{Setup: func(context.Context) error {
	export("worker", os.Stdout) // which arrives in the app as log lines
	return nil
}})

var upper = server.Handle(words, "upper", func(ctx context.Context, s string) (string, error) {
	ctx, span := poolotel.Config{}.Start(ctx, "handler")
	defer span.End()
	return convert(ctx, s), nil
})

func convert(ctx context.Context, s string) string {
	_, span := otel.Tracer("words").Start(ctx, "convert")
	defer span.End()
	return strings.ToUpper(s)
}

// export has the spans of this process printed, where a program would have them sent by an exporter of otlp's. Each is
// exported as it ends, for a worker may end at any time.
func export(process string, to io.Writer) {
	otel.SetTracerProvider(trace.NewTracerProvider(trace.WithSyncer(printer{process, to})))
}

type printer struct {
	process string
	to      io.Writer
}

// ExportSpans implements trace.SpanExporter.
func (p printer) ExportSpans(_ context.Context, spans []trace.ReadOnlySpan) error {
	for _, s := range spans {
		fmt.Fprintf(p.to, "span %q of %s: trace %s, span %s, parent %s\n", s.Name(), p.process,
			s.SpanContext().TraceID(), s.SpanContext().SpanID(), s.Parent().SpanID())
	}
	return nil
}

// Shutdown implements trace.SpanExporter.
func (printer) Shutdown(context.Context) error { return nil }

func main() {
	forkserver.Init()
	export("app", os.Stdout)
	ctx := context.Background()
	srv, err := forkserver.Start(ctx, words, forkserver.Config{Logger: hclog.New(&hclog.LoggerOptions{Output: os.Stdout})})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close() // after which all that workers have printed has been logged
	workers, err := pool.New(srv, pool.Config{Observer: poolotel.Config{}.Observer()})
	if err != nil {
		log.Fatal(err)
	}
	defer workers.Close()

	ctx, span := otel.Tracer("example").Start(ctx, "request")
	defer span.End()
	if _, err := upper.Call(ctx, workers, "hello"); err != nil {
		log.Fatal(err)
	}
}
