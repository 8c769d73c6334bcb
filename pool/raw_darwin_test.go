package pool_test

import "syscall"

// waitRaw waits for ever, as C code does.
func waitRaw() {
	for {
		syscall.Select(0, nil, nil, nil, nil)
	}
}
