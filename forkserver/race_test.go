//go:build linux && race

package forkserver_test

const slowdown = 4 // of what the race detector has built
