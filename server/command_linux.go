package server

import "syscall"

// commandAttr has the command die with the thread that starts it, which lives as long as the worker.
func commandAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
