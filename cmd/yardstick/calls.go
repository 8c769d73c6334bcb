package main

import (
	"context"
	"fmt"
	"time"
)

// calls are the scenarios of small calls.
func (p *plan) calls() []scenario {
	small := []metric{rate, p50, p99, cpu}
	return []scenario{
		p.loads(oneCaller, "One caller on one worker (bullpen: a held checkout)", small,
			load{workers: 1, callers: 1, held: true}),
		p.loads(eightCallers, "8 callers on 8 workers (bullpen: a checkout for each call)", small,
			load{workers: 8, callers: 8}),
		p.loads(manyCallers, "64 callers on 8 workers (bullpen: a checkout for each call; RPC peers share connections)", small,
			load{workers: 8, callers: 64}),
		p.loads(everyTwo, "One caller that calls every 2 ms", []metric{p50, p99, cpu},
			load{workers: 1, callers: 1, held: true, every: 2 * time.Millisecond}),
	}
}

// echoName is the name of the scenario of a payload.
func echoName(size int) string { return "echo-" + sizeName(size) }

func sizeName(size int) string {
	if size >= 1<<20 {
		return fmt.Sprintf("%dMiB", size>>20)
	}
	return fmt.Sprintf("%dKiB", size>>10)
}

var payloadSizes = []int{4 << 10, 256 << 10, 1 << 20, 16 << 20, 64 << 20}

// payloads are the scenarios of large []byte values.
func (p *plan) payloads() (all []scenario) {
	for _, size := range payloadSizes {
		l := load{workers: 1, callers: 1, held: true, size: size}
		if size == 64<<20 {
			l.size -= 64 // an envelope has to fit into limits of 64 MiB
		}
		all = append(all, p.loads(echoName(size), "Echo of "+sizeName(size)+" of bytes, there and back",
			[]metric{throughput, p50, cpu}, l))
	}
	return all
}

// loads is a scenario in which all contenders bear the same load.
func (p *plan) loads(name, title string, metrics []metric, l load) scenario {
	l.duration = p.duration
	s := scenario{name: name, title: title, metrics: metrics}
	for _, c := range contenders(p.scripted()) {
		s.steps = append(s.steps, step{contender: c.name, kind: c.kind,
			run: func(ctx context.Context) (values, error) { return c.measure(ctx, l) }})
	}
	return s
}

// scripted returns the contenders in other languages.
func (p *plan) scripted() (all []contender) {
	for _, name := range []string{namePython, nameNode} {
		if in, ok := p.interpreters[name]; ok {
			all = append(all, contender{name: name, kind: peer, run: in.load})
		}
	}
	return all
}
