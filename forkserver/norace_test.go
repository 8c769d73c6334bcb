//go:build linux && !race

package forkserver_test

const slowdown = 1
