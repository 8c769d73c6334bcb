// Package observe finds a running app's servers and pools from outside, and reads what they show. Nobody in the app is woken
// or asked: what is read lies in files without names (package scoreboard), which the system lets a process of the same user,
// or root, open through /proc, and nobody else.
package observe

import (
	"fmt"
	"time"

	"github.com/bullpen-go/bullpen/internal/scoreboard"
)

// App is a running app as it was at one moment.
type App struct {
	Pid     int
	Command string // its name
	Time    time.Time
	Servers []*Server
	Pools   []*scoreboard.PoolReading
}

// Server is one of its server processes, or the app itself if it serves others.
type Server struct {
	*scoreboard.Reading
	Workers []Worker
	Roster  uint64 // the inode of its file
}

// Worker is one of a server's workers. CPU and RSS are -1 if the system doesn't tell.
type Worker struct {
	scoreboard.WorkerReading
	CPU time.Duration
	RSS int64
}

// NotFoundError says that a process has nothing to look at.
type NotFoundError struct{ Pid int }

// Error implements error.
func (e *NotFoundError) Error() string {
	return fmt.Sprintf("process %d has neither a server nor a pool of bullpen's: give the pid of the app, or the path that it listens on", e.Pid)
}
