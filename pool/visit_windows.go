package pool

// Here nothing is put off.
const canVisit = false

func (v *visit) take(uintptr) bool { return true }
