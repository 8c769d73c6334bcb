package pool

import (
	"math/bits"
	"time"

	"github.com/bullpen-go/bullpen/internal/scoreboard"
)

// Histogram says how many durations there were of which length. Each bucket's bound is at most two thirds above the
// one before it, so that a quantile is known as well as that.
type Histogram struct {
	// Buckets are always the same ones, in ascending order: 1, 1.5, 2, 3, 5 and 7 µs, and so on up to 1000 s. The last one
	// has all that is longer.
	Buckets []Bucket
	Count   int64         // of all buckets
	Sum     time.Duration // of all durations
}

// Bucket counts the durations that are longer than the bound of the bucket before it, and no longer than its own.
type Bucket struct {
	Bound time.Duration // of the last bucket: the longest duration there is
	Count int64
}

// Quantile returns a duration that the given share of all, from 0 to 1, did not exceed: 0.5 for the median. Within a
// bucket it takes them to be spread evenly. It returns 0 if there were none, and for what lies in the last bucket the
// bound of the one before it, 1000 s.
func (h Histogram) Quantile(share float64) time.Duration {
	if h.Count == 0 {
		return 0
	}
	rank := min(max(share, 0), 1) * float64(h.Count)
	var below int64
	from := time.Duration(0)
	for i, b := range h.Buckets {
		if b.Count > 0 && float64(below+b.Count) >= rank {
			if i == len(h.Buckets)-1 {
				return from
			}
			part := (rank - float64(below)) / float64(b.Count)
			return from + time.Duration(part*float64(b.Bound-from))
		}
		below += b.Count
		from = b.Bound
	}
	return from
}

// Mean returns the mean duration, or 0 if there were none.
func (h Histogram) Mean() time.Duration {
	if h.Count == 0 {
		return 0
	}
	return h.Sum / time.Duration(h.Count)
}

// firstBucket has, for each number of bits, the bucket of the shortest duration that has so many.
var firstBucket = func() (first [65]uint8) {
	for n := 1; n < 64; n++ {
		for scoreboard.Bounds[first[n]] < 1<<(n-1) {
			first[n]++
		}
	}
	return first
}()

// bucketOf returns the bucket of a duration. It takes a few nanoseconds: there are at most four bounds between one power of two and the next.
func bucketOf(d time.Duration) int {
	i := int(firstBucket[bits.Len64(uint64(d))])
	for scoreboard.Bounds[i] < d {
		i++
	}
	return i
}

// durations counts durations, by any number of goroutines, in memory that others may look at.
type durations scoreboard.Durations

// add counts one duration.
func (c *durations) add(d time.Duration) {
	d = max(d, 0)
	c.Counts[bucketOf(d)].Add(1)
	c.Sum.Add(int64(d))
}

// histogram returns what was counted, and so many durations of 0 as well.
func (c *durations) histogram(zeros int64) Histogram {
	h := Histogram{Buckets: make([]Bucket, scoreboard.Buckets), Count: zeros, Sum: time.Duration(c.Sum.Load())}
	for i := range h.Buckets {
		n := c.Counts[i].Load()
		h.Buckets[i] = Bucket{scoreboard.Bounds[i], n}
		h.Count += n
	}
	h.Buckets[0].Count += zeros
	return h
}
