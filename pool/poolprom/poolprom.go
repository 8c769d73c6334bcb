// Package poolprom shows the figures of pools to Prometheus. It is a module of its own, so that a program without
// Prometheus links none of it.
//
//	c, err := poolprom.New(workers)
//	...
//	prometheus.MustRegister(c)
//
// All metrics have the label pool, a pool's Config.Name:
//
//	bullpen_pool_workers{state}               gauge: workers that are idle, acquired, or connecting
//	bullpen_pool_max_workers                  gauge: Config.MaxWorkers; 0 for no limit
//	bullpen_pool_waiting                      gauge: checkouts in the queue
//	bullpen_pool_checkouts_total              counter: checkouts that got a worker
//	bullpen_pool_waited_total                 counter: checkouts that had to wait
//	bullpen_pool_checkout_failures_total{reason}  counter: canceled, timeout, queue full
//	bullpen_pool_connects_total               counter: workers that were had
//	bullpen_pool_connect_failures_total       counter: tries to have one that failed
//	bullpen_pool_worker_ends_total{reason}    counter: workers that were let go; see pool.Stat.Ends
//	bullpen_pool_shared_memory_workers        gauge: workers that share memory with the app; see pool.Config.SharedMemory
//	bullpen_pool_looks_total{result}          counter: looks for a reply there: hit, in vain
//	bullpen_pool_wait_seconds                 histogram: how long checkouts waited for a worker
//	bullpen_pool_run_seconds                  histogram: how long handlers ran
//
// The command in the folder example shows all of it.
package poolprom

import (
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bullpen-go/bullpen/pool"
)

// Collector is a prometheus.Collector of one or more pools. It takes their figures when it is scraped, and costs nothing
// in between. It may be used by any number of goroutines.
type Collector struct {
	mu    sync.Mutex // guards pools
	pools map[string]*pool.Pool
}

var _ prometheus.Collector = (*Collector)(nil)

// New returns a collector of the given pools, of which there may be none yet. See Add for its error.
func New(pools ...*pool.Pool) (*Collector, error) {
	c := &Collector{pools: map[string]*pool.Pool{}}
	for _, p := range pools {
		if err := c.Add(p); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Add adds a pool. The error says that it is nil, or that there is a pool of its name already. A pool that was closed
// keeps its last figures until it is removed.
func (c *Collector) Add(p *pool.Pool) error {
	if p == nil {
		return errors.New("poolprom: the pool is nil")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if other, ok := c.pools[p.Name()]; ok && other != p {
		return fmt.Errorf("poolprom: there are two pools %q: give one another pool.Config.Name", p.Name())
	}
	c.pools[p.Name()] = p
	return nil
}

// Remove takes a pool out. If it isn't in, nothing happens.
func (c *Collector) Remove(p *pool.Pool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p != nil && c.pools[p.Name()] == p {
		delete(c.pools, p.Name())
	}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("bullpen_pool_"+name, help, append([]string{"pool"}, labels...), nil)
}

var (
	workers   = desc("workers", "Workers by state: idle, acquired, or connecting.", "state")
	maxOf     = desc("max_workers", "The most workers that the pool may have; 0 for no limit.")
	waiting   = desc("waiting", "Checkouts that wait for a worker.")
	checkouts = desc("checkouts_total", "Checkouts that got a worker.")
	waited    = desc("waited_total", "Checkouts that had to wait for a worker.")
	failures  = desc("checkout_failures_total", "Checkouts that got no worker, by reason.", "reason")
	connects  = desc("connects_total", "Workers that were had.")
	tries     = desc("connect_failures_total", "Tries to have a worker that failed.")
	ends      = desc("worker_ends_total", "Workers that were let go, by reason.", "reason")
	shared    = desc("shared_memory_workers", "Workers that share memory with the app.")
	looks     = desc("looks_total", "Looks for a reply in shared memory, by result.", "result")
	wait      = desc("wait_seconds", "How long checkouts waited for a worker; 0 for those that got one at once.")
	run       = desc("run_seconds", "How long handlers ran.")
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{workers, maxOf, waiting, checkouts, waited, failures, connects, tries, ends, shared, looks, wait, run} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	pools := make([]*pool.Pool, 0, len(c.pools))
	for _, p := range c.pools {
		pools = append(pools, p)
	}
	c.mu.Unlock()
	for _, p := range pools {
		collect(p.Name(), p.Stat(), to)
	}
}

// collect sends the figures of one pool.
func collect(name string, s *pool.Stat, to chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, t, v, append([]string{name}, labels...)...)
	}
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	send(workers, gauge, float64(s.Idle), "idle")
	send(workers, gauge, float64(s.Acquired), "acquired")
	send(workers, gauge, float64(s.Connecting), "connecting")
	send(maxOf, gauge, float64(s.MaxWorkers))
	send(waiting, gauge, float64(s.Waiting))
	send(checkouts, counter, float64(s.Checkouts))
	send(waited, counter, float64(s.Waited))
	send(failures, counter, float64(s.Canceled), "canceled")
	send(failures, counter, float64(s.Timeouts), "timeout")
	send(failures, counter, float64(s.Refused), "queue full")
	send(connects, counter, float64(s.Connects))
	send(tries, counter, float64(s.Failures))
	for reason, n := range s.Ends {
		send(ends, counter, float64(n), reason)
	}
	send(shared, gauge, float64(s.SharedMemory))
	send(looks, counter, float64(s.Looks-s.LooksInVain), "hit")
	send(looks, counter, float64(s.LooksInVain), "in vain")
	to <- histogram(wait, s.Wait, name)
	to <- histogram(run, s.Run, name)
}

// histogram makes a metric of a histogram. Of the six bounds in a power of ten it takes 1, 2 and 5: each bound is a time
// series.
func histogram(d *prometheus.Desc, h pool.Histogram, name string) prometheus.Metric {
	buckets := map[float64]uint64{}
	var below uint64
	for i, b := range h.Buckets[:len(h.Buckets)-1] {
		below += uint64(b.Count)
		switch i % 6 {
		case 0, 2, 4:
			buckets[b.Bound.Seconds()] = below
		}
	}
	return prometheus.MustNewConstHistogram(d, uint64(h.Count), h.Sum.Seconds(), buckets, name)
}
