package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// defaultAddress returns the unix path where this user's programs of the given name meet. Its directory belongs to the
// user alone: in one that others can write to, they could put a socket of theirs into its place.
func defaultAddress(name string) (string, error) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = os.TempDir()
	}
	dir = filepath.Join(dir, fmt.Sprintf("bullpen-%d", os.Geteuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if !private(info) {
		return "", fmt.Errorf("%s is not a directory that only you can use; give another place with --address", dir)
	}
	return filepath.Join(dir, name+".sock"), nil
}
