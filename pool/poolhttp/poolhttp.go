// Package poolhttp shows pools and their workers on a web page of the app's own. It is for the app's debug mux, next to
// net/http/pprof, and not for the public: it names methods and shows how workers have died.
//
//	var page poolhttp.Handler
//
//	srv, err := forkserver.Start(ctx, images, forkserver.Config{OnEvent: page.OnEvent})
//	...
//	workers, err := pool.New(srv, pool.Config{})
//	...
//	page.Add(workers, srv)
//	mux.Handle("/debug/bullpen/", &page)
//
// Below the path that it is mounted on, which must end with a slash, there are:
//
//	""             the page: workers, queue and latency, recent deaths. It needs nothing from elsewhere, works without
//	               JavaScript, and is live with it
//	"status.json"  the same for programs
//	"healthz"      200 while every pool's server is there, or a new one on its way; 503 otherwise
//	"readyz"       200 while, besides, no pool waits for its first worker, or fails to get any; 503 otherwise
//
// The plots show what was seen while somebody looked: nothing is sampled while nobody does.
package poolhttp

import (
	"encoding/json"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

// Pool is what the page shows of a pool; *pool.Pool is one.
type Pool interface {
	Name() string
	Stat() *pool.Stat
}

// Source is what the page shows of a server and its workers; *forkserver.Process is one.
type Source interface {
	Status() (*forkserver.Status, error)
	Err() error
}

// Handler serves the page. Its zero value has nothing to show yet, and is ready for use. It may be used by any number of
// goroutines, and must not be copied.
type Handler struct {
	mu      sync.Mutex // guards all below
	pools   []*shown
	sources []Source // in the order of Add, each once
	deaths  []Death  // the latest last
	ended   int64    // workers and servers, so far
}

// shown is a pool with what was seen of it.
type shown struct {
	pool    Pool
	source  Source // or nil
	history []sample
}

// sample is what a pool showed at one moment.
type sample struct {
	at      time.Time
	waiting int
	wait    pool.Histogram
	run     pool.Histogram
}

const (
	maxDeaths  = 50              // that are kept
	maxHistory = 150             // samples of a pool,
	sampleGap  = 2 * time.Second // and this far apart at least: 5 minutes in all
)

// Death is how a worker or a server has ended.
type Death struct {
	Time    time.Time `json:"time"`
	Service string    `json:"service"`
	Server  bool      `json:"server,omitempty"` // it was a server
	Pid     int       `json:"pid"`
	Number  int       `json:"number,omitempty"` // the worker's
	Cause   string    `json:"cause"`
	Stderr  string    `json:"stderr,omitempty"` // how it ends, 1 KiB at most
}

// Add has the page show a pool, and the server that its workers are of; nil if that is another program's. A pool that was
// added before is replaced. A nil pool adds the server alone. It panics if both are nil.
func (h *Handler) Add(p Pool, s Source) {
	if p == nil && s == nil {
		panic("bullpen: poolhttp.Handler.Add(nil, nil) has nothing to show")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s != nil {
		known := false
		for _, x := range h.sources {
			known = known || x == s
		}
		if !known {
			h.sources = append(h.sources, s)
		}
	}
	if p == nil {
		return
	}
	for _, x := range h.pools {
		if x.pool == p {
			x.source = s
			return
		}
	}
	h.pools = append(h.pools, &shown{pool: p, source: s})
}

// OnEvent notes how workers and servers end. It is for forkserver.Config.OnEvent and server.Server.OnEvent, itself or called
// from a function that is. Workers that were retired, or ended with their server's Close, are counted and not listed.
func (h *Handler) OnEvent(e server.Event) {
	d := Death{Time: e.Time, Service: e.Service, Pid: e.Pid, Number: e.Number}
	switch {
	case e.Type == server.WorkerEnded && e.Exit != nil:
		d.Cause = e.Exit.String()
		d.Stderr = lastOf(e.Exit.Stderr(), 1<<10)
	case e.Type == server.ServerEnded:
		d.Server, d.Cause = true, e.Err
	default:
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended++
	if quiet(e) {
		return
	}
	h.deaths = append(h.deaths, d)
	if len(h.deaths) > maxDeaths {
		h.deaths = append(h.deaths[:0], h.deaths[1:]...)
	}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD are allowed here", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	name := path.Base(r.URL.Path)
	if r.URL.Path == "" || strings.HasSuffix(r.URL.Path, "/") {
		name = ""
	}
	switch name {
	case "":
		h.page(w)
	case "status.json":
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.Encode(h.look())
	case "healthz":
		answer(w, h.unhealthy())
	case "readyz":
		answer(w, h.unready())
	default:
		http.NotFound(w, r)
	}
}

// answer says ok, or what is wrong.
func answer(w http.ResponseWriter, wrong []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(wrong) == 0 {
		w.Write([]byte("ok\n"))
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	w.Write([]byte(strings.Join(wrong, "\n") + "\n"))
}
