package scoreboard

import "os"

// anonymousFile makes a file without a name.
func anonymousFile(kind string) (*os.File, error) {
	f, err := os.CreateTemp("", kind)
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// seal: nothing here keeps somebody from writing who has the descriptor; it is given to nobody but the app.
func seal(*os.File) {}
