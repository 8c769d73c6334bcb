package server

import (
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// EventType is what an Event tells of.
type EventType string

const (
	WorkerStarted EventType = "worker started" // its process runs
	WorkerReady   EventType = "worker ready"   // its Setup has run
	WorkerEnded   EventType = "worker ended"   // Exit tells how
	ServerStarted EventType = "server started" // it takes connections
	ServerEnded   EventType = "server ended"   // Err tells how, if it wasn't asked to
)

// Event is something that happened to a worker or a server process.
type Event struct {
	Type    EventType  `cbor:"1,keyasint"`
	Time    time.Time  `cbor:"2,keyasint"`
	Service string     `cbor:"3,keyasint,omitempty"`
	Pid     int        `cbor:"4,keyasint,omitempty"`
	Number  int        `cbor:"5,keyasint,omitempty"` // the worker's, counted by its server from 1
	Exit    *wire.Exit `cbor:"6,keyasint,omitempty"`
	Err     string     `cbor:"7,keyasint,omitempty"`
}
