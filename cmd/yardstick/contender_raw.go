package main

import "github.com/bullpen-go/bullpen/cmd/yardstick/internal/bare"

var (
	// rawSpec is the fastest worker: nothing else runs in it.
	rawSpec = bare.Spec{Read: bare.Raw, Procs: 1}
	// pollerSpec is how a Go program usually reads.
	pollerSpec = bare.Spec{Read: bare.Poller}
	// blockingSpec is a worker in which the garbage collector and timers run as they should.
	blockingSpec = bare.Spec{Read: bare.Blocking, Procs: 1}
)

func rawContender(name string, spec bare.Spec) contender {
	return contender{name: name, kind: limit, start: func(workers int) (fleet, error) { return startBare(spec, workers) }}
}

// bareFleet is a number of bare workers, and what Go has for sharing them: a buffered channel.
type bareFleet struct {
	workers []*bare.Worker
	free    chan *bare.Worker
}

func startBare(spec bare.Spec, workers int) (*bareFleet, error) {
	f := &bareFleet{free: make(chan *bare.Worker, workers)}
	for range workers {
		w, err := bare.Start(spec)
		if err != nil {
			f.close()
			return nil, err
		}
		f.workers = append(f.workers, w)
		f.free <- w
	}
	return f, nil
}

// caller gives each caller a worker of its own, if there are enough: that is the limit.
func (f *bareFleet) caller(i int, l load) (caller, error) {
	if l.callers <= len(f.workers) {
		return bareCaller{f.workers[i]}, nil
	}
	return sharingCaller{f.free}, nil
}

func (f *bareFleet) pids() (pids []int) {
	for _, w := range f.workers {
		pids = append(pids, w.Pid)
	}
	return pids
}

func (f *bareFleet) close() {
	for _, w := range f.workers {
		w.Close()
	}
}

type bareCaller struct{ w *bare.Worker }

func (c bareCaller) echo(s string) (string, error)      { return c.w.Echo(s) }
func (c bareCaller) echoBytes(b []byte) ([]byte, error) { return c.w.EchoBytes(b) }
func (c bareCaller) close()                             {}

type sharingCaller struct{ free chan *bare.Worker }

func (c sharingCaller) echo(s string) (string, error) {
	w := <-c.free
	reply, err := w.Echo(s)
	c.free <- w
	return reply, err
}

func (c sharingCaller) echoBytes(b []byte) ([]byte, error) {
	w := <-c.free
	reply, err := w.EchoBytes(b)
	c.free <- w
	return reply, err
}

func (c sharingCaller) close() {}
