package main

import (
	"net"
	"os"
	"os/exec"

	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/bare"
)

// net/rpc and ttrpc have no processes of their own. Here each worker is a child with one end of a socket pair, and the
// callers of a worker share its connection, as both are made for.

const (
	envRole   = "YARDSTICK_ROLE" // what a child is
	roleRPC   = "net/rpc"
	roleTTRPC = "ttrpc"

	childSocket = 3
)

// rpcWorker is a child and the connection to it.
type rpcWorker struct {
	cmd  *exec.Cmd
	conn net.Conn
}

// startChild starts this program in a role, with one end of a connection.
func startChild(role string) (*rpcWorker, error) {
	ourFD, theirFD, err := bare.Socketpair()
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(ourFD), "socket"), os.NewFile(uintptr(theirFD), "socket")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(bare.Self())
	cmd.Env = append(os.Environ(), envRole+"="+role)
	cmd.Stderr = childStderr
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, err
	}
	return &rpcWorker{cmd, conn}, nil
}

// close ends a worker: it ends when its connection does.
func (w *rpcWorker) close() {
	w.conn.Close()
	w.cmd.Wait()
}

// childConn is the child's end.
func childConn() net.Conn {
	c, err := net.FileConn(os.NewFile(childSocket, "socket"))
	if err != nil {
		fail(err)
	}
	return c
}

// rpcFleet is workers with a client each. The callers are spread over them.
type rpcFleet struct {
	workers []*rpcWorker
	callers []caller
}

func startRPC(workers int, role string, client func(net.Conn) caller) (fleet, error) {
	f := &rpcFleet{}
	for range workers {
		w, err := startChild(role)
		if err != nil {
			f.close()
			return nil, err
		}
		f.workers = append(f.workers, w)
		f.callers = append(f.callers, client(w.conn))
	}
	return f, nil
}

func (f *rpcFleet) caller(i int, _ load) (caller, error) { return f.callers[i%len(f.callers)], nil }

func (f *rpcFleet) pids() (pids []int) {
	for _, w := range f.workers {
		pids = append(pids, w.cmd.Process.Pid)
	}
	return pids
}

func (f *rpcFleet) close() {
	for _, w := range f.workers {
		w.close()
	}
}
