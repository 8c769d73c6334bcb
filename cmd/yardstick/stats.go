package main

import (
	"math"
	"slices"
	"time"
)

// median returns the middle of values, or NaN if there are none. NaNs in values don't count.
func median(values []float64) float64 { return percentile(values, 50) }

// percentile returns the value that p percent of values don't exceed, interpolated between neighbours.
func percentile(values []float64, p float64) float64 {
	sorted := numbers(values)
	if len(sorted) == 0 {
		return math.NaN()
	}
	slices.Sort(sorted)
	at := p / 100 * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// numbers returns a copy of values without NaNs.
func numbers(values []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(values), math.IsNaN)
}

// ratios returns of/against round by round: what disturbs a round disturbs both.
func ratios(of, against []float64) []float64 {
	out := make([]float64, min(len(of), len(against)))
	for i := range out {
		out[i] = of[i] / against[i]
	}
	return out
}

// micros returns durations in microseconds.
func micros(all []time.Duration) []float64 {
	out := make([]float64, len(all))
	for i, d := range all {
		out[i] = float64(d) / 1e3
	}
	return out
}
