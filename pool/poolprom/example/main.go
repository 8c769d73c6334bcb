// The command example runs a pool and shows its figures to Prometheus.
//
//	go run ./example                           prints what a scrape would see, and ends
//	go run ./example -listen 127.0.0.1:9090    goes on until it is interrupted; see http://127.0.0.1:9090/metrics
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/pool/poolprom"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

var naps = server.NewService("naps", server.Hooks{})

var nap = server.Handle(naps, "nap", func(ctx context.Context, d time.Duration) (wire.None, error) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return wire.None{}, ctx.Err()
})

var crash = server.Handle0(naps, "crash", func(context.Context) (wire.None, error) { os.Exit(3); return wire.None{}, nil })

func main() {
	forkserver.Init()
	listen := flag.String("listen", "", "address to be scraped at")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	srv, err := forkserver.Start(ctx, naps, forkserver.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	workers, err := pool.New(srv, pool.Config{MaxWorkers: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer workers.Close()

	collector, err := poolprom.New(workers)
	if err != nil {
		log.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	l, err := net.Listen("tcp", cmp.Or(*listen, "127.0.0.1:0"))
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(l, nil)

	use(ctx, workers)
	if err := scrape("http://" + l.Addr().String() + "/metrics"); err != nil {
		log.Fatal(err)
	}
	for *listen != "" && ctx.Err() == nil {
		use(ctx, workers)
	}
}

// use makes more calls than there are workers, one of which crashes.
func use(ctx context.Context, workers *pool.Pool) {
	var calls []*wire.Pending[wire.None]
	for range 5 {
		calls = append(calls, nap.Go(ctx, workers, 20*time.Millisecond))
	}
	calls = append(calls, crash.Go(ctx, workers))
	for _, c := range calls {
		c.Wait() // the last one returns how its worker ended
	}
}

// scrape prints what Prometheus would see.
func scrape(url string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			fmt.Print(line)
		}
	}
	return err
}
