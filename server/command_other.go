//go:build !linux

package server

import "syscall"

// commandAttr asks for nothing: the command is in its worker's process group, which its server kills.
func commandAttr() *syscall.SysProcAttr { return nil }
