package main

import "context"

// contender is one way to have work done in other processes: bullpen, a limit of the machine, or a peer.
type contender struct {
	name string
	kind kind
	// start starts a fleet of workers that drive can load.
	start func(workers int) (fleet, error)
	// run is for contenders in another language, which load themselves. It is nil for those with start.
	run func(ctx context.Context, l load) (values, error)
}

type kind string

const (
	ours  kind = "bullpen"
	limit kind = "limit"
	peer  kind = "peer"
)

// fleet is a number of running workers.
type fleet interface {
	// caller returns what caller number i of a load uses.
	caller(i int, l load) (caller, error)
	// pids are all processes but this one that take part in a call.
	pids() []int
	close()
}

// caller makes calls, one at a time.
type caller interface {
	echo(s string) (string, error)
	echoBytes(b []byte) ([]byte, error)
	close()
}

// measure puts the load on n workers of the contender.
func (c contender) measure(ctx context.Context, l load) (values, error) {
	if c.run != nil {
		return c.run(ctx, l)
	}
	f, err := c.start(l.workers)
	if err != nil {
		return nil, err
	}
	defer f.close()
	return drive(f, l)
}

// Names of the contenders that goals are about.
const (
	nameBullpen    = "bullpen"
	nameSocket     = "bullpen, socket only"
	nameRaw        = "raw socket, raw-recv worker"
	namePoller     = "raw socket, netpoller"
	nameBlocking   = "raw socket, blocking read"
	nameNetRPC     = "net/rpc"
	nameTTRPC      = "ttrpc"
	namePluginGRPC = "go-plugin gRPC"
	namePluginRPC  = "go-plugin net/rpc"
	namePython     = "Python ProcessPoolExecutor"
	nameNode       = "Node fork IPC"
)

// contenders returns all that echo, bullpen and the limits first: neighbours are measured one after the other.
func contenders(interpreters []contender) []contender {
	all := []contender{
		{name: nameBullpen, kind: ours, start: startBullpen},
		{name: nameSocket, kind: ours, start: startSocket},
		rawContender(nameRaw, rawSpec),
		rawContender(namePoller, pollerSpec),
		{name: nameNetRPC, kind: peer, start: startNetRPC},
		{name: nameTTRPC, kind: peer, start: startTTRPC},
		{name: namePluginRPC, kind: peer, start: startPluginRPC},
		{name: namePluginGRPC, kind: peer, start: startPluginGRPC},
	}
	return append(all, interpreters...)
}
