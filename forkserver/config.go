package forkserver

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/server"
)

// Config says how a server process is started. Its zero value is useful; Start doesn't change it.
type Config struct {
	// Listen are addresses on which the server also takes clients from other programs: unix paths ("unix:/run/x.sock",
	// or anything with a slash) and TCP addresses ("tcp:127.0.0.1:7000"), off loopback only with Hooks.TLS. See
	// server.Listen. Default none.
	Listen []string
	// Limits bound what workers may do and take.
	Limits server.Limits
	// SetupData is what server.SetupData returns in the workers' hooks and handlers: for flags that were parsed,
	// configuration that was read. It is encoded as a call's argument is. Nil means none.
	SetupData any
	// Env is the environment of server and workers. Nil means the app's, as it is at Start.
	Env []string
	// Dir is their working directory. "" means the app's, as it is at Start.
	Dir string
	// Path is the program that they run, for a helper binary. Its main must call Init, and it must declare the
	// service. "" means the app's own binary, also if its file was replaced or deleted since the app began.
	Path string
	// Logger gets the records of the server, and what server and workers print. Nil drops them.
	Logger hclog.Logger
	// StartTimeout is how long the server may take to answer, at its start and later: one that is silent for longer when
	// it is wanted is killed and replaced. Default 10 seconds; negative: no limit.
	StartTimeout time.Duration
	// OnEvent is called when a server or worker process starts, is ready, or ends, one event at a time. It must not
	// block. Nil means nobody wants to know.
	OnEvent func(server.Event)
}

// serverConfig is what the app tells its server to be.
type serverConfig struct {
	Service   string        `cbor:"1,keyasint"`
	Limits    server.Limits `cbor:"2,keyasint"`
	SetupData []byte        `cbor:"3,keyasint,omitempty"`
	Listeners int           `cbor:"4,keyasint,omitempty"` // inherited, from role.ServerListeners on
	Events    bool          `cbor:"5,keyasint,omitempty"`
	Path      string        `cbor:"6,keyasint,omitempty"`
}
