// Command bullpen shows what package bullpen does, and uses it for workers in other languages: bullpen serve and
// bullpen call. Run bullpen demo first.
//
// Each subcommand has a file of its own.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/bullpen-go/bullpen/forkserver"
)

func main() {
	forkserver.Init() // the first line: in the server and worker processes of this program it never returns

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil { // cobra has printed it
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:          "bullpen",
		Short:        "Pools of worker processes for Go",
		SilenceUsage: true,
	}
	root.AddCommand(demoCommand(), serveCommand(), callCommand(), topCommand(), benchCommand(), chaosCommand())
	return root
}
