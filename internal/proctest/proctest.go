// Package proctest is what tests of several packages need to make faults that take some preparation: programs that run
// as another user, and cgroups.
package proctest
