// Package proctest is what tests of several packages need: to wait for what comes and for what happens, to start the test
// binary as a program of its own and find all of its processes, and to make faults that take some preparation: programs
// that run as another user, and cgroups.
package proctest

import (
	"context"
	"testing"
	"time"
)

// Patience is how long a test waits for anything.
const Patience = 20 * time.Second

// EnvApp is the environment variable that makes a test binary something else than a test: its TestMain looks at it.
const EnvApp = "BULLPEN_TEST_APP"

// Limited returns a context that ends with the test's patience.
func Limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Eventually waits until ok is true: for what nobody tells.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}
