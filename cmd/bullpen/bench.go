package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/bullpen-go/bullpen/wire"
)

// benchConfig is what bench is told.
type benchConfig struct {
	connect     []string // the targets: addresses, or benchSelf
	method      string
	concurrency int
	workers     int
	payload     int
	duration    time.Duration // for each target
	warmup      time.Duration // before the first round
	rounds      int
	rate        float64 // calls a second; 0: as many as there can be
	timeout     time.Duration
	wire        wire.Kind
	json        bool
	tls         tlsFiles
	out, log    io.Writer
}

// benchSelf is the target that bench brings itself.
const benchSelf = "self"

// check completes the settings, and finds those that make no sense.
func (c *benchConfig) check(against string) error {
	if against != "" {
		c.connect = append(c.connect, against)
	}
	switch {
	case c.concurrency < 1 || c.workers < 1:
		return errors.New("--concurrency and --workers must be at least 1")
	case c.payload < 0:
		return errors.New("--payload can't be negative")
	case c.duration <= 0:
		return errors.New("--duration must be more than nothing")
	case c.rate < 0 || c.warmup < 0 || c.rounds < 0:
		return errors.New("--rate, --warmup and --rounds can't be negative")
	}
	if c.rounds == 0 {
		c.rounds = 1
		if len(c.connect) > 1 {
			c.rounds = 6
		}
	}
	return nil
}

func benchCommand() *cobra.Command {
	conf := benchConfig{}
	var kind, connect, against string
	c := &cobra.Command{
		Use:   "bench",
		Short: "Make calls as fast as they go, or at a rate, and show how long they take",
		Long: `Calls a method that returns its argument, on workers of its own or behind an address, and prints how many calls there
were in a second, and how long they took: a table, and a histogram.

Without --rate each of the callers makes its next call when the last one has ended. That measures what there is room for.
But when the target pauses so do the callers: the calls that others would have made in that time are missing from the
latencies (coordinated omission). With --rate calls begin at times that were fixed in advance, and each is measured from
when it was to begin, also if no caller was free then. Use it to see what users see; and use enough callers. Calls that
were due and never begun, because the target can't keep up, are counted.

With --against a second target is measured in the same run, in turns, and the ratio of the two is printed: the median of
the rounds. A difference that is smaller than what the rounds differ by is noise.`,
		Example: `  bullpen bench
  bullpen bench --concurrency 64 --workers 8 --payload 4096 --rate 5000 --duration 30s
  bullpen bench --connect /run/ocr.sock --against 127.0.0.1:7000 --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if conf.wire, err = wireKind(kind); err != nil {
				return err
			}
			conf.connect = []string{connect}
			if err := conf.check(against); err != nil {
				return err
			}
			conf.out, conf.log = c.OutOrStdout(), c.ErrOrStderr()
			return bench(c.Context(), conf)
		},
	}
	f := c.Flags()
	f.StringVar(&connect, "connect", benchSelf, `what to measure: a unix path, HOST:PORT, or "self" for workers of its own`)
	f.StringVar(&against, "against", "", "a second target to compare with, as --connect")
	f.StringVar(&conf.method, "method", "echo", "the method to call; its argument is a text")
	f.IntVar(&conf.concurrency, "concurrency", 8, "how many callers there are")
	f.IntVar(&conf.workers, "workers", 2, "how many workers there are at most")
	f.IntVar(&conf.payload, "payload", 64, "how long the argument is, in bytes")
	f.DurationVar(&conf.duration, "duration", 10*time.Second, "how long each target is measured")
	f.DurationVar(&conf.warmup, "warmup", 500*time.Millisecond, "how long each target is called before that")
	f.IntVar(&conf.rounds, "rounds", 0, "in how many rounds (default 1, and 6 with --against)")
	f.Float64Var(&conf.rate, "rate", 0, "calls a second (default as many as there is room for)")
	f.DurationVar(&conf.timeout, "timeout", 0, "how long a call may take, the wait for a worker included (default 30s)")
	f.StringVar(&kind, "wire", wire.Binary.String(), "the wire to speak, binary or json")
	f.BoolVar(&conf.json, "json", false, "print the figures as JSON, with those of each round, times in nanoseconds")
	conf.tls.flags(f, "the authority that the server's certificate must be of (PEM)")
	c.RegisterFlagCompletionFunc("wire", cobra.FixedCompletions([]string{wire.Binary.String(), wire.JSON.String()}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// wireKind returns the wire of a flag's value.
func wireKind(name string) (wire.Kind, error) {
	for _, k := range []wire.Kind{wire.Binary, wire.JSON} {
		if name == k.String() {
			return k, nil
		}
	}
	return 0, fmt.Errorf("--wire is binary or json, not %q", name)
}
