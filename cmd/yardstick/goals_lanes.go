package main

import "time"

// laneGoals are those of shared memory, beside our own socket and others.
func laneGoals() (all []goal) {
	in := func(scenario, contender string) key { return key{scenario, contender} }
	ours := func(scenario string) key { return key{scenario, nameBullpen} }
	// than is a goal that compares with our own socket.
	than := func(what, scenario string, m metric, most, least float64) {
		all = append(all, goal{what: what, of: ours(scenario), metric: m, against: key{scenario, nameSocket}, most: most, least: least})
	}
	mib16 := echoName(16 << 20)
	all = append(all, goal{what: "one caller: p50 µs", of: ours(oneCaller), metric: p50, most: 1},
		goal{what: "one caller: calls/s / go-plugin gRPC", of: ours(oneCaller), metric: rate, against: in(oneCaller, namePluginGRPC), least: 50},
		goal{what: "8 callers: calls/s / go-plugin gRPC", of: ours(eightCallers), metric: rate, against: in(eightCallers, namePluginGRPC), least: 20})
	than("one caller: calls/s / socket", oneCaller, rate, 0, 10)
	than("8 callers: calls/s / socket", eightCallers, rate, 0, 2.5)
	than("8 callers: p99 / socket", eightCallers, p99, 1, 0)
	than("64 callers: calls/s / socket", manyCallers, rate, 0, 2.5)
	than("64 callers: p99 / socket", manyCallers, p99, 1, 0)
	than("one caller: CPU per call / socket", oneCaller, cpu, 0.4, 0)
	than("8 callers: CPU per call / socket", eightCallers, cpu, 0.4, 0)
	for _, n := range busyCallers {
		what := busyName(20*time.Microsecond, n)
		than(what+": calls/s / socket", what, rate, 0, 1.15)
	}
	for _, n := range busyCallers {
		what := busyName(200*time.Microsecond, n)
		than(what+": calls/s / socket", what, rate, 0, 0.95)
	}
	for _, n := range hogsCallers {
		than(hogsName(n)+": calls/s / socket", hogsName(n), rate, 0, 0.95)
	}
	than("a call every 2 ms: p50 / socket", everyTwo, p50, 1, 0)
	than("a call every 2 ms: CPU per call / socket", everyTwo, cpu, 1, 0)
	return append(all,
		goal{what: "echo of 16 MiB: GiB/s / raw stream, raw-recv", of: ours(mib16), metric: throughput, against: in(mib16, nameRaw), least: 2.2},
		goal{what: "echo of 16 MiB: GiB/s / raw stream, netpoller", of: ours(mib16), metric: throughput, against: in(mib16, namePoller), least: 2.2},
		goal{what: "echo of 16 MiB: GiB/s / go-plugin gRPC", of: ours(mib16), metric: throughput, against: in(mib16, namePluginGRPC), least: 12},
		goal{what: "idle after traffic: CPU ms/s", of: ours(idleLanes), metric: idleCPU, most: 1})
}
