// Yardstick measures bullpen beside the limits of the machine and beside its peers, in one run:
//
//	go -C cmd/yardstick run .
//
// It prints a table for each scenario, medians over several rounds with ratios, and then how far the goals are met that
// bullpen has set itself. In each round of a scenario all are measured once, so that what else the machine does disturbs all
// alike; trust ratios, not figures. --svg FILE also writes the plot that bullpen's README shows.
//
// Peers whose interpreter isn't there are left out. Processor time and memory are measured on Linux only.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin"

	"github.com/bullpen-go/bullpen/forkserver"

	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/bare"
)

// childStderr is where children complain.
var childStderr = os.Stderr

func main() {
	becomeChild()
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(2) // the flag package has said why
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	progress := os.Stderr
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = null // a library of go-plugin writes there that each plugin has ended
	}
	err = run(ctx, o, os.Stdout, progress)
	os.Stderr = progress
	plugin.CleanupClients()
	if err != nil {
		fail(err)
	}
}

// becomeChild does a child's work, and does not return, if this process is one.
func becomeChild() {
	forkserver.Init()
	bare.Init()
	role, ok := os.LookupEnv(envRole)
	if !ok {
		return
	}
	switch role {
	case roleRPC:
		serveNetRPC()
	case roleTTRPC:
		serveTTRPC()
	default:
		servePlugin(role)
	}
	os.Exit(0)
}

func fail(err error) {
	fmt.Fprintf(os.Stderr, "yardstick: %v\n", err)
	os.Exit(1)
}

// options are what the command line says.
type options struct {
	rounds   int
	duration time.Duration
	only     *regexp.Regexp
	json     bool
	svg      string
	quick    bool
	scale    float64
}

func parseOptions(args []string, out io.Writer) (options, error) {
	o := options{only: regexp.MustCompile("")}
	fs := flag.NewFlagSet("yardstick", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.IntVar(&o.rounds, "rounds", 5, "how often everything is measured")
	fs.DurationVar(&o.duration, "duration", 500*time.Millisecond, "how long a measurement takes")
	fs.Func("only", "measure only what matches `REGEX`, of SCENARIO/CONTENDER", func(s string) (err error) {
		o.only, err = regexp.Compile(s)
		return err
	})
	fs.BoolVar(&o.json, "json", false, "print all rounds' figures as JSON instead of tables")
	fs.StringVar(&o.svg, "svg", "", "write the plot to `FILE`")
	fs.BoolVar(&o.quick, "quick", false, "one short round, for a first look: --rounds 1 --duration 100ms --scale 0.1")
	fs.Float64Var(&o.scale, "scale", 1, "the large crowd, as a part of 1,000 workers and 100,000 waiting checkouts")
	fs.Usage = func() {
		fmt.Fprint(out, "usage: yardstick [flags]\n\nMeasures bullpen, the limits of the machine, and peers.\n\n")
		fs.PrintDefaults()
		fmt.Fprintln(out, "\nscenarios:")
		for _, s := range (&plan{scale: o.scale}).scenarios() {
			fmt.Fprintf(out, "  %-22s %s\n", s.name, s.title)
		}
	}
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.quick {
		o.beQuick(fs)
	}
	if fs.NArg() > 0 || o.rounds < 1 || o.duration <= 0 || o.scale <= 0 {
		fs.Usage()
		return o, fmt.Errorf("arguments that make no sense")
	}
	return o, nil
}

// beQuick changes what the command line does not say otherwise.
func (o *options) beQuick(fs *flag.FlagSet) {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if !given["rounds"] {
		o.rounds = 1
	}
	if !given["duration"] {
		o.duration = 100 * time.Millisecond
	}
	if !given["scale"] {
		o.scale = 0.1
	}
}
