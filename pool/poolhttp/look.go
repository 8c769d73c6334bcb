package poolhttp

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// Report is what status.json has; times are in nanoseconds.
type Report struct {
	Time      time.Time      `json:"time"`
	Unhealthy []string       `json:"unhealthy"` // what healthz says; empty: it is healthy
	Unready   []string       `json:"unready"`   // what readyz says
	Pools     []PoolReport   `json:"pools"`
	Servers   []ServerReport `json:"servers"`
	Ended     int64          `json:"ended"`  // workers and servers that have ended, as OnEvent was told
	Deaths    []Death        `json:"deaths"` // the latest first, 50 at most
}

// PoolReport is a pool's part.
type PoolReport struct {
	Name       string           `json:"name"`
	MaxWorkers int              `json:"max_workers"` // 0: no limit
	Total      int              `json:"total"`
	Idle       int              `json:"idle"`
	Acquired   int              `json:"acquired"`
	Connecting int              `json:"connecting"`
	Waiting    int              `json:"waiting"`
	Checkouts  int64            `json:"checkouts"`
	Waited     int64            `json:"waited"`
	Canceled   int64            `json:"canceled"`
	Timeouts   int64            `json:"timeouts"`
	Refused    int64            `json:"refused"`
	Connects   int64            `json:"connects"`
	Failures   int64            `json:"failures"`
	Ends       map[string]int64 `json:"ends"`

	SharedMemory int   `json:"shared_memory"` // workers that share memory with the app
	Looks        int64 `json:"looks"`         // for replies there
	LooksInVain  int64 `json:"looks_in_vain"`

	LastError string    `json:"last_error,omitempty"`
	Wait      Quantiles `json:"wait"` // for a worker, since the pool's start
	Run       Quantiles `json:"run"`  // of calls
	History   []Moment  `json:"history"`

	waits, runs pool.Histogram
}

// Quantiles are those of a histogram.
type Quantiles struct {
	Count int64         `json:"count"`
	Mean  time.Duration `json:"mean"`
	P50   time.Duration `json:"p50"`
	P90   time.Duration `json:"p90"`
	P99   time.Duration `json:"p99"`
}

// Moment is a point of the plots: what a pool showed then, and what it did since the point before.
type Moment struct {
	Time    time.Time     `json:"time"`
	Waiting int           `json:"waiting"`
	Calls   int64         `json:"calls"`
	Wait    time.Duration `json:"wait"` // the 99th percentile, as that of Run
	Run     time.Duration `json:"run"`
}

// ServerReport is a server's part: its status, or why there is none.
type ServerReport struct {
	*forkserver.Status
	Error string `json:"error,omitempty"`
}

// look takes a sample of everything.
func (h *Handler) look() *Report {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &Report{Time: now, Unhealthy: h.unhealthyLocked(), Unready: h.unreadyLocked(), Pools: []PoolReport{},
		Servers: []ServerReport{}, Ended: h.ended, Deaths: []Death{}}
	for _, x := range h.pools {
		st := x.pool.Stat()
		x.sample(now, st)
		r.Pools = append(r.Pools, x.report(st))
	}
	for _, s := range h.sources {
		st, err := s.Status()
		sr := ServerReport{Status: st}
		if err != nil {
			sr.Error = err.Error()
		}
		r.Servers = append(r.Servers, sr)
	}
	for i := len(h.deaths) - 1; i >= 0; i-- {
		r.Deaths = append(r.Deaths, h.deaths[i])
	}
	return r
}

// sample adds a point to the plots, if the last one is old enough.
func (x *shown) sample(now time.Time, st *pool.Stat) {
	if n := len(x.history); n > 0 && now.Sub(x.history[n-1].at) < sampleGap {
		return
	}
	x.history = append(x.history, sample{now, st.Waiting, st.Wait, st.Run})
	if len(x.history) > maxHistory+1 { // the first is what the second is compared with
		x.history = append(x.history[:0], x.history[1:]...)
	}
}

func (x *shown) report(st *pool.Stat) PoolReport {
	r := PoolReport{Name: x.pool.Name(), MaxWorkers: st.MaxWorkers, Total: st.Total, Idle: st.Idle, Acquired: st.Acquired,
		Connecting: st.Connecting, Waiting: st.Waiting, Checkouts: st.Checkouts, Waited: st.Waited, Canceled: st.Canceled,
		Timeouts: st.Timeouts, Refused: st.Refused, Connects: st.Connects, Failures: st.Failures, Ends: st.Ends,
		SharedMemory: st.SharedMemory, Looks: st.Looks, LooksInVain: st.LooksInVain,
		Wait: quantiles(st.Wait), Run: quantiles(st.Run), History: []Moment{}, waits: st.Wait, runs: st.Run}
	if st.LastError != nil {
		r.LastError = st.LastError.Error()
	}
	for i := 1; i < len(x.history); i++ {
		a, b := x.history[i-1], x.history[i]
		run := since(b.run, a.run)
		r.History = append(r.History, Moment{Time: b.at, Waiting: b.waiting, Calls: run.Count,
			Wait: since(b.wait, a.wait).Quantile(0.99), Run: run.Quantile(0.99)})
	}
	return r
}

func quantiles(h pool.Histogram) Quantiles {
	return Quantiles{h.Count, h.Mean(), h.Quantile(0.5), h.Quantile(0.9), h.Quantile(0.99)}
}

// since returns what a histogram has counted since it was before.
func since(now, before pool.Histogram) pool.Histogram {
	h := pool.Histogram{Buckets: make([]pool.Bucket, len(now.Buckets)), Sum: now.Sum - before.Sum}
	for i, b := range now.Buckets {
		if i < len(before.Buckets) {
			b.Count = max(b.Count-before.Buckets[i].Count, 0)
		}
		h.Buckets[i] = b
		h.Count += b.Count
	}
	return h
}

// quiet reports whether an end is one of those that are meant to be.
func quiet(e server.Event) bool {
	if e.Type == server.ServerEnded {
		return e.Err == ""
	}
	return e.Exit.Reason == wire.ExitRetired || e.Exit.Reason == wire.ExitShutdown
}

func (h *Handler) unhealthy() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unhealthyLocked()
}

// unhealthyLocked tells which servers won't come back. The caller holds mu.
func (h *Handler) unhealthyLocked() []string {
	wrong := []string{}
	for _, s := range h.sources {
		if err := s.Err(); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	return wrong
}

func (h *Handler) unready() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unreadyLocked()
}

// unreadyLocked tells which pools can't be expected to serve a call now. The caller holds mu.
func (h *Handler) unreadyLocked() []string {
	wrong := h.unhealthyLocked()
	for _, x := range h.pools {
		switch st := x.pool.Stat(); {
		case st.Total == 0 && st.LastError != nil:
			wrong = append(wrong, fmt.Sprintf("pool %q has no workers: %v", x.pool.Name(), st.LastError))
		case st.Total == 0 && st.Connects == 0 && st.Connecting > 0:
			wrong = append(wrong, fmt.Sprintf("pool %q is waiting for its first worker", x.pool.Name()))
		}
	}
	return wrong
}

// lastOf returns the last n bytes of a text, and from a line's beginning on if that is cut.
func lastOf(s string, n int) string {
	if len(s) > n {
		s = s[len(s)-n:]
		if _, rest, found := strings.Cut(s, "\n"); found {
			s = rest
		}
		for len(s) > 0 && !utf8.RuneStart(s[0]) {
			s = s[1:]
		}
	}
	return strings.TrimSpace(strings.ToValidUTF8(s, "\uFFFD"))
}
