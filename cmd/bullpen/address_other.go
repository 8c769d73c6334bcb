//go:build !unix

package main

import "io/fs"

// private trusts the directory for temporary files, which is each user's own here.
func private(info fs.FileInfo) bool { return info.IsDir() }
