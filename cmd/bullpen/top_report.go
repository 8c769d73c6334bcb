package main

import (
	"time"

	"github.com/bullpen-go/bullpen/internal/scoreboard"
)

// report is what top --json prints. Times are in nanoseconds, CPU and RSS are -1 if the system doesn't tell.
type report struct {
	Pid     int            `json:"pid"`
	Command string         `json:"command"`
	Time    time.Time      `json:"time"`
	Servers []serverReport `json:"servers"`
	Pools   []poolReport   `json:"pools"`
}

type serverReport struct {
	Pid     int            `json:"pid"`
	Service string         `json:"service"`
	Uptime  time.Duration  `json:"uptime"`
	Workers []workerReport `json:"workers"`
}

type workerReport struct {
	Number         int           `json:"number"`
	Pid            int           `json:"pid"`
	Age            time.Duration `json:"age"`
	State          string        `json:"state"`
	Method         string        `json:"method,omitempty"`
	For            time.Duration `json:"for,omitempty"`
	Client         string        `json:"client"` // "app", "other program", or "none": a standby
	Calls          uint64        `json:"calls"`
	CallsPerSecond float64       `json:"calls_per_second"`
	Errors         uint64        `json:"errors"`
	Checkouts      uint64        `json:"checkouts"`
	BytesIn        uint64        `json:"bytes_in"`
	BytesOut       uint64        `json:"bytes_out"`
	CPU            time.Duration `json:"cpu"`
	RSS            int64         `json:"rss"`
}

type poolReport struct {
	Name       string        `json:"name"`
	Uptime     time.Duration `json:"uptime"`
	MaxWorkers int64         `json:"max_workers"` // 0: no limit
	Total      int64         `json:"total"`
	Idle       int64         `json:"idle"`
	Connecting int64         `json:"connecting"`
	Waiting    int64         `json:"waiting"`
	Checkouts  int64         `json:"checkouts"`
	Waited     int64         `json:"waited"`
	Canceled   int64         `json:"canceled"`
	Timeouts   int64         `json:"timeouts"`
	Refused    int64         `json:"refused"`
	Connects   int64         `json:"connects"`
	Failures   int64         `json:"failures"`
	WaitP50    time.Duration `json:"wait_p50"`
	WaitP99    time.Duration `json:"wait_p99"`
	RunP50     time.Duration `json:"run_p50"`
	RunP99     time.Duration `json:"run_p99"`
}

// report returns the sample for scripts.
func (s *sample) report() report {
	r := report{Pid: s.Pid, Command: s.Command, Time: s.Time, Servers: []serverReport{}, Pools: []poolReport{}}
	for _, server := range s.Servers {
		sr := serverReport{Pid: server.Reading.Server, Service: server.Service, Uptime: server.Uptime, Workers: []workerReport{}}
		for i := range s.rows {
			if s.rows[i].server == server {
				sr.Workers = append(sr.Workers, s.rows[i].report())
			}
		}
		r.Servers = append(r.Servers, sr)
	}
	for _, p := range s.pools {
		r.Pools = append(r.Pools, poolReport{Name: p.Name, Uptime: p.Uptime, MaxWorkers: p.Max, Total: p.Total, Idle: p.Idle,
			Connecting: p.Connecting, Waiting: p.Waiting, Checkouts: p.Checkouts, Waited: p.Waited, Canceled: p.Canceled,
			Timeouts: p.Timeouts, Refused: p.Refused, Connects: p.Connects, Failures: p.Failures,
			WaitP50: p.wait.Quantile(0.5), WaitP99: p.wait.Quantile(0.99), RunP50: p.run.Quantile(0.5), RunP99: p.run.Quantile(0.99)})
	}
	return r
}

func (r *row) report() workerReport {
	client := map[scoreboard.Owner]string{scoreboard.Nobody: "none", scoreboard.App: "app"}[r.Owner]
	if client == "" {
		client = "other program"
	}
	return workerReport{Number: r.Number, Pid: r.Pid, Age: r.Age, State: r.State.String(), Method: r.Method, For: r.For,
		Client: client, Calls: r.Calls, CallsPerSecond: r.calls, Errors: r.Errors, Checkouts: r.Checkouts, BytesIn: r.BytesIn,
		BytesOut: r.BytesOut, CPU: r.CPU, RSS: r.RSS}
}
