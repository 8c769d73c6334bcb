package process

import "time"

// UsageOf is not ok: there is no way without cgo.
func UsageOf(pid, parent int) (cpu time.Duration, rss int64, ok bool) { return 0, 0, false }
