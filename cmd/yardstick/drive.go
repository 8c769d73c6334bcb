package main

import (
	"fmt"
	"sync"
	"time"
)

// load is what a contender is asked to do.
type load struct {
	workers int
	callers int
	// held has each caller keep a worker of its own for all its calls, where the contender has such a thing.
	held bool
	// size is the number of bytes to echo; 0 is the string "hello".
	size int
	// work is how long each handler keeps its processor busy. Only bullpen knows it.
	work time.Duration
	// hogs is how many processes keep a core each busy meanwhile.
	hogs int
	// every is how often each caller calls; 0 is as fast as it can.
	every    time.Duration
	duration time.Duration
}

const text = "hello"

// drive puts the load on the fleet and returns what it took.
func drive(f fleet, l load) (values, error) {
	all := make([]*driver, l.callers)
	for i := range all {
		c, err := f.caller(i, l)
		if err != nil {
			return nil, err
		}
		defer c.close()
		all[i] = newDriver(c, l)
	}
	if err := together(all, (*driver).warmUp); err != nil {
		return nil, err
	}
	stop, err := startHogs(l.hogs)
	if err != nil {
		return nil, err
	}
	defer stop()
	used := newCPUMeter(f.pids())
	start := time.Now()
	for _, d := range all {
		d.until = start.Add(l.duration)
	}
	if err := together(all, (*driver).run); err != nil {
		return nil, err
	}
	took := time.Since(start)
	spent, err := used.spent()
	if err != nil {
		return nil, err
	}
	var latencies []time.Duration
	for _, d := range all {
		latencies = append(latencies, d.latencies...)
	}
	return summary(l, latencies, took, spent), nil
}

// summary makes figures of a load's latencies.
func summary(l load, latencies []time.Duration, took, spent time.Duration) values {
	us := micros(latencies)
	n := float64(len(latencies))
	v := values{rate: n / took.Seconds(), p50: median(us), p99: percentile(us, 99), cpu: float64(spent) / 1e3 / n}
	if l.size > 0 {
		v[throughput] = 2 * n * float64(l.size) / (1 << 30) / took.Seconds()
	}
	return v
}

// together runs f on all drivers at once and returns their first error.
func together(all []*driver, f func(*driver) error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, d := range all {
		wg.Go(func() { errs[i] = f(d) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// driver is one caller of a load.
type driver struct {
	c         caller
	every     time.Duration
	payload   []byte // nil: the string
	until     time.Time
	latencies []time.Duration
}

func newDriver(c caller, l load) *driver {
	d := &driver{c: c, every: l.every, latencies: make([]time.Duration, 0, 1<<12)}
	if l.size > 0 {
		d.payload = make([]byte, l.size)
		for i := range d.payload {
			d.payload[i] = byte(i)
		}
	}
	return d
}

const warmUpCalls = 50

// warmUp makes the calls that are not counted: connections are made, buffers grow, goroutines find their places. Both sides get
// new memory for each large message until the garbage collector has some to give back, and the first touch of 16 MiB takes a
// virtual machine ten times as long as all else.
func (d *driver) warmUp() error {
	n := warmUpCalls
	switch {
	case len(d.payload) > 16<<20:
		n = 4
	case len(d.payload) > 64<<10:
		n = 10
	}
	for range n {
		if err := d.call(); err != nil {
			return err
		}
	}
	return nil
}

// run calls until the time is over, but at least three times.
func (d *driver) run() error {
	begin := time.Now()
	next := begin
	for len(d.latencies) < 3 || begin.Before(d.until) {
		if err := d.call(); err != nil {
			return err
		}
		end := time.Now()
		d.latencies = append(d.latencies, end.Sub(begin))
		begin = end
		if d.every > 0 {
			next = next.Add(d.every)
			time.Sleep(time.Until(next)) // the load is to call that seldom
			begin = time.Now()
		}
	}
	return nil
}

// call makes a call and checks its result.
func (d *driver) call() error {
	if d.payload == nil {
		reply, err := d.c.echo(text)
		if err == nil && reply != text {
			err = fmt.Errorf("the echo of %q was %q", text, reply)
		}
		return err
	}
	reply, err := d.c.echoBytes(d.payload)
	if err != nil {
		return err
	}
	last := len(d.payload) - 1
	if len(reply) != len(d.payload) || reply[last] != d.payload[last] {
		return fmt.Errorf("the echo of %d bytes was %d other ones", len(d.payload), len(reply))
	}
	return nil
}
