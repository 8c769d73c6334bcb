package main

import (
	"encoding/json"
	"io"
	"math"
	"runtime"
	"time"
)

// The document that --json prints. What was not measured in a round is null.
type document struct {
	Time      time.Time      `json:"time"`
	Machine   string         `json:"machine"`
	Go        string         `json:"go"`
	Cores     int            `json:"cores"`
	Rounds    int            `json:"rounds"`
	Scenarios []jsonScenario `json:"scenarios"`
	Goals     []jsonGoal     `json:"goals"`
}

type jsonScenario struct {
	Name  string    `json:"name"`
	Title string    `json:"title"`
	Rows  []jsonRow `json:"rows"`
}

type jsonRow struct {
	Contender string                `json:"contender"`
	Error     string                `json:"error,omitempty"`
	Metrics   map[metric]jsonMetric `json:"metrics,omitempty"`
}

type jsonMetric struct {
	Median number   `json:"median"`
	Rounds []number `json:"rounds"`
}

type jsonGoal struct {
	What     string  `json:"what"`
	Measured number  `json:"measured"`
	Most     float64 `json:"most,omitempty"`
	Least    float64 `json:"least,omitempty"`
	Met      bool    `json:"met"`
}

// number is a float64 whose NaN is null.
type number float64

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

func writeJSON(w io.Writer, o options, all []scenario, r *results) error {
	d := document{Time: time.Now(), Machine: machine(), Go: runtime.Version(), Cores: runtime.NumCPU(), Rounds: o.rounds}
	for _, s := range all {
		js := jsonScenario{Name: s.name, Title: s.title}
		for _, st := range s.steps {
			js.Rows = append(js.Rows, jsonRowOf(r, key{s.name, st.contender}))
		}
		d.Scenarios = append(d.Scenarios, js)
	}
	for _, v := range judgeAll(r) {
		d.Goals = append(d.Goals, jsonGoal{What: v.goal.what, Measured: number(v.measured), Most: v.goal.most, Least: v.goal.least, Met: v.met()})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

func jsonRowOf(r *results, k key) jsonRow {
	row := jsonRow{Contender: k.contender, Metrics: map[metric]jsonMetric{}}
	if err := r.failed[k]; err != nil {
		row.Error = err.Error()
	}
	for m, rounds := range r.rounds[k] {
		jm := jsonMetric{Median: number(median(rounds))}
		for _, x := range rounds {
			jm.Rounds = append(jm.Rounds, number(x))
		}
		row.Metrics[m] = jm
	}
	return row
}
