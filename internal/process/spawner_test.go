//go:build linux || darwin

package process_test

import (
	"fmt"
	"testing"

	"github.com/bullpen-go/bullpen/internal/process"
)

func init() {
	modes["busy"] = func(string) { // shows when there are children
		process.OnBusy(func(busy bool) { fmt.Print(busy, " ") })
		begin := func() *process.Process {
			fmt.Print("start ")
			p, err := process.Start(process.Spec{Title: "busy", Env: env("exit 0")})
			if err != nil {
				panic(err)
			}
			return p
		}
		a := begin()
		b := begin()
		a.Wait()
		a.Release()
		b.Wait()
		fmt.Print("last ")
		b.Release()
		fmt.Print("none ")
		process.Start(process.Spec{Path: "/nonexistent", Title: "none"})
		fmt.Println("end")
	}
}

func TestOnBusy(t *testing.T) {
	t.Parallel()
	c := start(t, "busy", nil)
	if got, want := c.line(t), "false start true start last false none true false end"; got != want {
		t.Errorf("%q instead of %q", got, want)
	}
	c.end(t)
}
