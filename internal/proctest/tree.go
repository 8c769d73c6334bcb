package proctest

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// EnvMark is the environment variable whose value, a mark, tells the processes of one tree from all others.
const EnvMark = "BULLPEN_TEST_TREE"

var marks atomic.Int64

// NewMark returns a mark that no other tree has.
func NewMark() string { return fmt.Sprintf("%d-%d", os.Getpid(), marks.Add(1)) }

// Survival is how long what belongs to a dead process may live on.
const Survival = time.Second
