package pool

import "time"

// instant is a moment on the monotonic clock, in nanoseconds from the program's start; 0 is none. To read it takes half as
// long as time.Now.
type instant int64

var began = time.Now().Add(-1)

func now() instant { return instant(time.Since(began)) }

// time returns the moment as the standard library wants it; the zero Time for none.
func (i instant) time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return began.Add(time.Duration(i))
}

// add returns the moment d later.
func (i instant) add(d time.Duration) instant { return i + instant(d) }

// since returns how long it is from j to i.
func (i instant) since(j instant) time.Duration { return time.Duration(i - j) }
