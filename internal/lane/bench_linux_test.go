package lane_test

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/bullpen-go/bullpen/internal/lane"
)

// Both kinds of way to another process, in one run: what counts is the ratio.

func BenchmarkPingPong(b *testing.B) {
	for _, ring := range []int{0, lane.DefaultRing} {
		b.Run(way(ring), func(b *testing.B) {
			p := start(b, "echo", ring)
			pingPong(b, p, message(60))
		})
	}
}

func BenchmarkLarge(b *testing.B) {
	for _, size := range []int{64 << 10, 1 << 20, 16 << 20, 64 << 20} {
		for _, ring := range []int{0, 1 << 20, 2 << 20, 4 << 20} {
			b.Run(strconv.Itoa(size>>10)+"KiB/"+way(ring), func(b *testing.B) {
				p := start(b, "echo", ring)
				rw := p.rw()
				m := message(size)
				b.SetBytes(int64(2 * size))
				var small [4 << 10]byte
				for b.Loop() {
					if p.end != nil {
						p.end.Begin(now(), 1)
					}
					if _, err := rw.Write(m); err != nil {
						b.Fatal(err)
					}
					if _, err := receive(rw, small[:]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkCallers has many callers share eight workers, and one caller keep one, with handlers that take their time.
func BenchmarkCallers(b *testing.B) {
	for _, handler := range []time.Duration{0, 20 * time.Microsecond, 200 * time.Microsecond} {
		for _, callers := range []int{1, 8, 64} {
			for _, ring := range []int{0, lane.DefaultRing} {
				b.Run(handler.String()+"/"+strconv.Itoa(callers)+"/"+way(ring), func(b *testing.B) { share8(b, handler, callers, ring) })
			}
		}
	}
}

// BenchmarkPaced has a call every 2 ms: what counts is the CPU that it takes.
func BenchmarkPaced(b *testing.B) {
	for _, ring := range []int{0, lane.DefaultRing} {
		b.Run(way(ring), func(b *testing.B) {
			p := start(b, "serve", ring)
			m := message(60)
			binary.LittleEndian.PutUint32(m[4:], 0)
			buf := make([]byte, len(m))
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			before := cpu(b, p)
			for range b.N {
				<-tick.C
				if err := call(p, m, buf, 1, 0); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu(b, p)-before)/float64(b.N), "cpu-ns/op")
			reportCounters(b, p)
		})
	}
}

// cpu returns how many ns of CPU this process and the others have taken.
func cpu(b *testing.B, others ...*process) (sum int64) {
	b.Helper()
	pids := []int{os.Getpid()}
	for _, p := range others {
		pids = append(pids, p.Process.Pid)
	}
	for _, pid := range pids {
		threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat")
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range threads {
			text, _ := os.ReadFile(name) // a thread may have ended
			first, _, _ := strings.Cut(string(text), " ")
			ns, _ := strconv.ParseInt(first, 10, 64)
			sum += ns
		}
	}
	return sum
}

func share8(b *testing.B, handler time.Duration, callers, ring int) {
	workers := make(chan *process, 8)
	var started []*process
	for range min(callers, cap(workers)) {
		p := start(b, "serve", ring)
		started = append(started, p)
		workers <- p
	}
	var took hdr
	took.h = hdrhistogram.New(1, int64(time.Minute), 2)
	left := atomic.Int64{}
	left.Store(int64(b.N))
	before := cpu(b, started...)
	b.ResetTimer()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			m := message(60)
			binary.LittleEndian.PutUint32(m[4:], uint32(handler))
			buf := make([]byte, len(m))
			for left.Add(-1) >= 0 {
				begin := now()
				p := <-workers
				err := call(p, m, buf, min(callers, cap(workers)), handler)
				workers <- p
				took.add(now() - begin)
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(cpu(b, started...)-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(took.h.ValueAtQuantile(50))/1e3, "p50-us")
	b.ReportMetric(float64(took.h.ValueAtQuantile(99))/1e3, "p99-us")
	reportCounters(b, started...)
}

type hdr struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

func (h *hdr) add(d int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.RecordValue(d)
}

func call(p *process, m, buf []byte, callers int, handler time.Duration) error {
	rw := p.rw()
	if p.end != nil {
		p.end.Begin(now(), callers)
	}
	if _, err := rw.Write(m); err != nil {
		return err
	}
	if _, err := io.ReadFull(rw, buf); err != nil {
		return err
	}
	if p.end != nil {
		p.end.Served(handler)
	}
	return nil
}

func way(ring int) string {
	if ring == 0 {
		return "socket"
	}
	return "lane-" + strconv.Itoa(ring>>10) + "KiB"
}

func pingPong(b *testing.B, p *process, m []byte) {
	buf := make([]byte, len(m))
	for b.Loop() {
		if err := call(p, m, buf, 1, 0); err != nil {
			b.Fatal(err)
		}
	}
	reportCounters(b, p)
}

func reportCounters(b *testing.B, all ...*process) {
	var hits, misses, bells uint64
	for _, p := range all {
		if p.end == nil {
			return
		}
		c := p.end.Counters()
		hits, misses, bells = hits+c.Hits, misses+c.Misses, bells+c.Bells
	}
	b.ReportMetric(float64(hits)/float64(b.N), "hits/op")
	b.ReportMetric(float64(misses)/float64(b.N), "misses/op")
	b.ReportMetric(float64(bells)/float64(b.N), "bells/op")
}
