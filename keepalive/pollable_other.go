//go:build !unix

package keepalive

import "os"

func pollable(f *os.File) (*os.File, error) { return f, nil }

func inheritable(f *os.File) (*os.File, error) { return f, nil }
