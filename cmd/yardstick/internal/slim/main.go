// Slim is a helper of the yardstick: a program that links bullpen and nothing else, as small as a user's program can
// be. The start of a worker and its memory are measured with it too, because a large program hides what they cost.
package main

import (
	"fmt"
	"os"

	"github.com/bullpen-go/bullpen/forkserver"

	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/bare"
	_ "github.com/bullpen-go/bullpen/cmd/yardstick/internal/echo" // its workers serve it
)

func main() {
	forkserver.Init()
	bare.Init()
	fmt.Fprintln(os.Stderr, "this is a helper of the yardstick, which starts it by itself")
	os.Exit(2)
}
