//go:build !linux && !darwin

package server

import "time"

// There are no workers here.

func cpuTime(int) time.Duration { return 0 }

func peakRSS(int) int64 { return 0 }
