//go:build !linux

package main

import (
	"errors"
	"runtime"
	"time"
)

// What proc_linux.go measures is not to be had here.

type cpuMeter struct{}

func newCPUMeter([]int) *cpuMeter                 { return &cpuMeter{} }
func (*cpuMeter) spent() (time.Duration, error)   { return 0, nil }
func proportional([]int) (float64, error)         { return 0, errors.ErrUnsupported }
func resident(int) (now, most float64, err error) { return 0, 0, errors.ErrUnsupported }
func forgetPeak(int) error                        { return errors.ErrUnsupported }
func switches([]int) (float64, error)             { return 0, errors.ErrUnsupported }
func machine() string                             { return runtime.GOOS + " " + runtime.GOARCH }
func busyness() string                            { return "unknown" }
