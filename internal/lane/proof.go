package lane

// Unread reports whether the worker has provably read nothing since Begin: what it has read it says, before anybody looks at it. It
// may be asked when the worker is dead. After Close it is false, and so it is of the first call: a worker that has cleared the
// memory looks as one that has read nothing.
func (e *End) Unread() bool {
	head := e.out.sharedHead.Load()
	return head == e.mark && head != 0 && !e.mem.closed.Load()
}

// Room returns how many bytes can be written without a wait, and 0 if that isn't known. No Write may be running.
func (e *End) Room() int {
	head := e.out.sharedHead.Load()
	used := e.out.tail - head
	if used > uint64(len(e.out.ring)) {
		return 0
	}
	return len(e.out.ring) - int(used)
}
