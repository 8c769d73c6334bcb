//go:build !race

package forkserver_test

const slowdown = 1
