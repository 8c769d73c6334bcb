package server

import "time"

// backoff slows the replacement of workers that fail before they serve. The zero value is ready; its owner guards it.
type backoff struct{ failures int }

const (
	backoffFirst = 50 * time.Millisecond
	backoffMax   = time.Second
)

func (b *backoff) fail()    { b.failures++ }
func (b *backoff) succeed() { b.failures = 0 }

// delay returns how long to wait before the next try.
func (b *backoff) delay() time.Duration {
	if b.failures == 0 {
		return 0
	}
	return min(backoffFirst<<min(b.failures-1, 10), backoffMax)
}
