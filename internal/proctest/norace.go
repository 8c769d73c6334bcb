//go:build !race

package proctest

// Slowdown is how much slower the race detector makes what is built with it.
const Slowdown = 1
