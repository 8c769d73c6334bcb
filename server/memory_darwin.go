package server

// limitMemory does nothing: the system accepts such limits and ignores them.
func limitMemory(int64) error { return nil }
