//go:build !linux

package role

import (
	"fmt"
	"os"
)

// build identifies the program's file. Here the file may have been replaced since the program was started, so its time
// counts too.
func build() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%x-%x", info.Size(), info.ModTime().UnixNano())
}
