package lane_test

import (
	"io"
	"strconv"
	"testing"

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
				b.SetBytes(int64(2 * size))
				var small [4 << 10]byte
				for b.Loop() {
					if p.end != nil {
						p.end.Begin(now(), 1)
					}
					m := message(0)
					m = append(m, make([]byte, size)...) // fresh memory, as a caller's would be
					m[0], m[1], m[2], m[3] = byte(size), byte(size>>8), byte(size>>16), byte(size>>24)
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

func way(ring int) string {
	if ring == 0 {
		return "socket"
	}
	return "lane-" + strconv.Itoa(ring>>10) + "KiB"
}

func pingPong(b *testing.B, p *process, m []byte) {
	rw := p.rw()
	buf := make([]byte, len(m))
	for b.Loop() {
		if p.end != nil {
			p.end.Begin(now(), 1)
		}
		if _, err := rw.Write(m); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(rw, buf); err != nil {
			b.Fatal(err)
		}
		if p.end != nil {
			p.end.Served(0)
		}
	}
	if p.end != nil {
		c := p.end.Counters()
		b.ReportMetric(float64(c.Hits)/float64(b.N), "hits/op")
		b.ReportMetric(float64(c.Misses)/float64(b.N), "misses/op")
		b.ReportMetric(float64(c.Bells)/float64(b.N), "bells/op")
	}
}
