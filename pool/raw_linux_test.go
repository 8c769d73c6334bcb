package pool_test

import "syscall"

// waitRaw waits for ever in a system call that Go's scheduler doesn't know of, as C code does.
func waitRaw() {
	for {
		syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}
