// Package transcripts reads the recorded streams of AnyEvent::Task in testdata/transcripts, for tests.
package transcripts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Scenario is one recording.
type Scenario struct {
	Name  string
	Conns []*Conn // in the order of their numbers; one connection is one worker
}

// Conn is what passed on one connection, in order.
type Conn struct{ Turns []Turn }

// Turn is one side's stream until the other side spoke.
type Turn struct {
	Client bool
	Data   string // messages, whole and back to back
	Close  bool   // the side closes after it
}

// Load reads all recordings in a directory.
func Load(dir string) ([]Scenario, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no transcripts in %s: %w", dir, errors.Join(err, os.ErrNotExist))
	}
	var all []Scenario
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		s := Scenario{Name: strings.TrimSuffix(filepath.Base(file), ".jsonl")}
		if err := s.parse(text); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func (s *Scenario) parse(text []byte) error {
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var line struct {
			Conn       int
			From, Data string
			Close      bool
		}
		if err := d.Decode(&line); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if line.Conn == 0 { // the note
			continue
		}
		for len(s.Conns) < line.Conn {
			s.Conns = append(s.Conns, &Conn{})
		}
		s.Conns[line.Conn-1].add(line.From == "client", line.Data, line.Close)
	}
}

func (c *Conn) add(client bool, data string, close bool) {
	if n := len(c.Turns); n > 0 && c.Turns[n-1].Client == client {
		c.Turns[n-1].Data += data
		c.Turns[n-1].Close = c.Turns[n-1].Close || close
		return
	}
	c.Turns = append(c.Turns, Turn{client, data, close})
}

// Said returns all that one side said.
func (c *Conn) Said(client bool) (data string) {
	for _, t := range c.Turns {
		if t.Client == client {
			data += t.Data
		}
	}
	return data
}

// Messages decodes a stream of JSON values.
func Messages(data string) (all [][]any, err error) {
	for d := json.NewDecoder(strings.NewReader(data)); ; {
		var m []any
		if err := d.Decode(&m); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
}
