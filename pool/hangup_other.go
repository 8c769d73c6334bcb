//go:build !linux

package pool

// endOfStream can't tell here: a dead worker shows when it is called.
func endOfStream(uintptr) bool { return false }
