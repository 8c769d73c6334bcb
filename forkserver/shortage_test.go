//go:build linux

package forkserver_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
)

func init() {
	apps["few files"] = func() { // an app that has no descriptors between the first two lines of its input
		logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
		logger.RegisterSink(printer{})
		srv, err := forkserver.Start(context.Background(), basic, forkserver.Config{Logger: logger})
		if err != nil {
			panic(err)
		}
		workers, err := pool.New(srv, pool.Config{MinWorkers: -1})
		if err != nil {
			panic(err)
		}
		getpid.Call(context.Background(), workers)
		var before unix.Rlimit
		unix.Getrlimit(unix.RLIMIT_NOFILE, &before)
		in := bufio.NewScanner(os.Stdin)
		fmt.Println("server", srv.Pid())
		in.Scan()
		unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: before.Max})
		fmt.Println("limited")
		in.Scan()
		unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
		_, err = getpid.Call(context.Background(), workers)
		fmt.Println("afterwards:", err, srv.Err())
		in.Scan()
	}
}

// An app without descriptors can't start a server. That is no server's death: it goes on trying, and has one when there
// are descriptors again.
func TestServerThatCannotBeStartedIsNotGivenUp(t *testing.T) {
	t.Parallel()
	a := proctest.NewApp("/proc/self/exe", "few files")
	in, err := a.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	a.Launch(t)
	pid, _ := strconv.Atoi(a.Says(t, "server "))
	io.WriteString(in, "\n")
	a.Says(t, "limited")
	kill(pid, syscall.SIGKILL)
	proctest.Eventually(t, "more tries than a server may die", func() bool {
		n := 0
		for _, line := range a.Lines.List() {
			if strings.Contains(line, "the server could not be started again") {
				n++
			}
		}
		return n > 6
	})
	io.WriteString(in, "\n")
	if got := a.Says(t, "afterwards: "); got != "<nil> <nil>" {
		t.Error(got)
	}
	in.Close()
	<-a.Ended
}
