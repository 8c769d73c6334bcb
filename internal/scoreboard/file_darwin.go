package scoreboard

import "os"

func anonymousFile() (*os.File, error) {
	f, err := os.CreateTemp("", "bullpen-scoreboard")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}
