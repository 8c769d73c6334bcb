//go:build unix && !(linux && (amd64 || arm64))

package role

const hushes = false

func hush()   {}
func unhush() {}
