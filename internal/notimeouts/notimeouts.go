// Package notimeouts is the switch that turns all timeouts off, for somebody who stands in a worker with a debugger:
//
//	BULLPEN_DEBUG=notimeouts ./program
//
// App, server and workers each look at their environment; the app sees to it that its server's says the same.
package notimeouts

import (
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Variable is the environment variable, and Word what it has to have among the words that commas separate in it.
const (
	Variable = "BULLPEN_DEBUG"
	Word     = "notimeouts"
)

// Forever stands for a time that has to be a number. Added to the present time it is still one.
const Forever = 100 * 365 * 24 * time.Hour

// On reports whether timeouts are off. It looks at the environment: ask when something starts, not on a call's path.
func On() bool { return slices.Contains(strings.Split(os.Getenv(Variable), ","), Word) }

// Env returns the environment for a child of a process whose timeouts are off.
func Env(env []string) []string {
	out := slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, Variable+"=") })
	return append(out, Variable+"="+os.Getenv(Variable))
}

// Warn says so in the log. Nobody may leave the switch on unnoticed: what has no logger uses the default one, which
// prints to the standard error.
func Warn(to hclog.Logger, args ...any) {
	if to == nil {
		to = hclog.Default()
	}
	to.Warn("bullpen: all timeouts are off, as "+Variable+"="+Word+" is set: a call that hangs hangs for ever", args...)
}
