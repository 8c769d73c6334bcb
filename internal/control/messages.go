package control

import "github.com/bullpen-go/bullpen/wire"

// Type is what a control message is for.
type Type byte

// App to server.
const (
	AppConfig   Type = 1 + iota // what Start was given; first, once
	AppConn                     // Handover, with a descriptor: a connection that wants a worker
	AppKill                     // Kill: end the worker of a connection
	AppPing                     // wants a ServerPong
	AppClose                    // end all workers now, then yourself
	AppShutdown                 // start no more workers; end when the last one has
	AppClaim                    // Claim: a connection made ahead is used from now on
)

// Server to app.
const (
	ServerReady  Type = 32 + iota // Ready, with two descriptors, the roster's and the scoreboard's: answers AppConfig
	ServerPong                    // a sign of life
	ServerExit                    // Exit: the worker of a connection has ended
	ServerEvent                   // an event, as package server defines it
	ServerLog                     // Log: a record of the server's logger
	ServerServes                  // a worker is ready: sent once
	ServerClosed                  // Closed: answers AppClose, just before the end
	ServerRetire                  // Retire: a worker is wanted back
	ServerWarm                    // Warm: a connection made ahead has its worker
)

// Server to worker.
const (
	WorkerSetup  Type = 64 + iota // what the worker is to be; first, once
	WorkerServe                   // Serve, with a descriptor: its connection
	WorkerCancel                  // end: cancel the handler that runs
	WorkerClaim                   // the connection that was made ahead is used from now on: wants a WorkerTook
)

// Worker to server.
const (
	WorkerReady  Type = 96 + iota // Setup has run
	WorkerFailed                  // a wire.SetupError: Setup has failed
	WorkerTook                    // the connection has arrived; it will be read now
	WorkerWake                    // a call has begun while the hung watch was asleep
	WorkerLog                     // Log: a record of a hook's
	WorkerEnding                  // Ending: why the worker will end itself now
)

// Handover passes a connection on. ID is the app's number for it.
type Handover struct {
	ID   uint64    `cbor:"1,keyasint"`
	Wire wire.Kind `cbor:"2,keyasint,omitempty"`
	// Ahead: nobody uses the connection yet. Its worker is to be a standby, and finds out the wire by itself.
	Ahead bool `cbor:"3,keyasint,omitempty"`
}

// Claim says that somebody uses a connection that was made ahead.
type Claim struct {
	ID uint64 `cbor:"1,keyasint"`
}

// Warm says that the worker of a connection that was made ahead is set up.
type Warm struct {
	ID uint64 `cbor:"1,keyasint"`
}

// Kill wants a connection's worker ended.
type Kill struct {
	ID     uint64 `cbor:"1,keyasint"`
	Detail string `cbor:"2,keyasint,omitempty"`
}

// Retire wants a connection's worker to be given back.
type Retire struct {
	ID uint64 `cbor:"1,keyasint"`
}

// Exit reports the end of a connection's worker.
type Exit struct {
	ID   uint64    `cbor:"1,keyasint"`
	Exit wire.Exit `cbor:"2,keyasint"`
}

// Ready says that the server takes connections.
type Ready struct {
	Build string `cbor:"1,keyasint"`
	Err   string `cbor:"2,keyasint,omitempty"` // or why it does not
	// Shortage: it had no room for something, and another one may have.
	Shortage bool `cbor:"3,keyasint,omitempty"`
}

// Log is a log record of the server's. Args are alternating keys and values, the values as text.
type Log struct {
	Level   int32    `cbor:"1,keyasint"`
	Name    string   `cbor:"2,keyasint,omitempty"`
	Message string   `cbor:"3,keyasint"`
	Args    []string `cbor:"4,keyasint,omitempty"`
}

// Closed names the workers that would not die.
type Closed struct {
	Survivors []int `cbor:"1,keyasint,omitempty"`
}

// Serve gives a worker its connection.
type Serve struct {
	Wire wire.Kind `cbor:"1,keyasint,omitempty"`
	// Ahead: nobody uses the connection yet. The worker says that it is ready, and waits for the client's first byte, which
	// tells the wire.
	Ahead bool `cbor:"2,keyasint,omitempty"`
}

// Ending is a worker's last word.
type Ending struct {
	Reason wire.ExitReason `cbor:"1,keyasint"`
	Detail string          `cbor:"2,keyasint,omitempty"`
	// Command tells how the command ended for which the worker worked, if that is why it ends.
	Command *CommandEnd `cbor:"3,keyasint,omitempty"`
}

// CommandEnd is how a worker's command ended. Code is -1 if that was by a signal.
type CommandEnd struct {
	Code   int `cbor:"1,keyasint"`
	Signal int `cbor:"2,keyasint,omitempty"`
}
