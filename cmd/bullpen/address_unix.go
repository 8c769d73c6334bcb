//go:build unix

package main

import (
	"io/fs"
	"os"
	"syscall"
)

// private reports whether info is a directory of this user's that nobody else can use.
func private(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.IsDir() && int(st.Uid) == os.Geteuid() && info.Mode().Perm()&0o077 == 0
}
