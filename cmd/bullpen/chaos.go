//go:build linux

package main

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/spf13/cobra"
)

func chaosCommand() *cobra.Command {
	c := chaosConfig{}
	recycles := 0
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Kill, stop and crash apps, servers and workers, and count what goes wrong",
		Long: `Makes calls, and makes faults while they run: workers are killed, stopped, crash and loop, servers are killed and
restarted, apps are killed, descriptors run out, setups fail. It counts the answers that belong to another call, calls
that ran twice, calls that ended late or with an error that isn't typed, and what is left behind: processes, zombies,
descriptors, goroutines, temporary files.

With --recycles it only replaces workers, one after each call, and counts what they leave behind.

It ends with a table, and with exit status 1 if anything is not 0 that must be, or has grown.`,
		Example: `  bullpen chaos --duration 60s --workers 8 --callers 64
  bullpen chaos --recycles 20000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			chaosVictim()
			if c.Seed == 0 {
				c.Seed = rand.Uint64N(1e6) + 1
			}
			c.Out = cmd.OutOrStdout()
			if recycles > 0 {
				clean, err := chaosSoakRun(cmd.Context(), c, recycles)
				if err == nil && !clean {
					err = errors.New("chaos: something has grown")
				}
				return err
			}
			report, err := chaosRun(cmd.Context(), c)
			if err != nil {
				return err
			}
			if !report.clean() {
				return errors.New("chaos: something is not 0 that must be")
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&c.Duration, "duration", 60*time.Second, "how long it takes, about")
	cmd.Flags().IntVar(&recycles, "recycles", 0, "only replace so many workers (default 0: all faults)")
	cmd.Flags().IntVar(&c.Workers, "workers", 8, "how many workers there are")
	cmd.Flags().IntVar(&c.Callers, "callers", 64, "how many callers there are")
	cmd.Flags().IntVar(&c.SharedMemory, "shared-memory", 0, "bytes that a worker may share with the app (default the pool's; negative: none)")
	cmd.Flags().Uint64Var(&c.Seed, "seed", 0, "repeats the faults of a run (default random)")
	return cmd
}
