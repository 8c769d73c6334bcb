// Package bare is what the machine allows: worker processes that do nothing but echo what comes over one unix socket,
// and the client that calls them. What bullpen adds to a call is measured against it.
//
//	func main() {
//		bare.Init() // in a worker process this never returns
//		w, err := bare.Start(bare.Spec{Read: bare.Raw, Procs: 1})
//		...
//		reply, err := w.Echo("hello")
//
// A message is four bytes (big endian, the number of bytes that follow) and its text. With the top bit of the length
// set it is a question to the worker itself: see ask.
package bare

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Read is how a worker waits for its next message.
type Read string

const (
	// Poller reads a net.Conn, as any Go program would.
	Poller Read = "poller"
	// Blocking reads by read(2) on a blocking descriptor, which the Go scheduler knows of.
	Blocking Read = "blocking"
	// Raw reads by recvfrom(2) on a blocking descriptor with a short timeout, which the scheduler does not know of.
	// Nothing wakes faster, and nothing else in the process runs meanwhile.
	Raw Read = "raw"
)

// envSpec tells a process that it is a worker, and which one: "READ" or "READ,hand-over".
const envSpec = "YARDSTICK_BARE"

const workerSocket = 3 // the worker's end

// Init makes this process a worker if Start has started it as one; then it never returns.
func Init() {
	spec, ok := os.LookupEnv(envSpec)
	if !ok {
		return
	}
	read, handOver, _ := strings.Cut(spec, ",")
	fd := workerSocket
	var err error
	if handOver != "" {
		fd, err = receive(fd)
	}
	if err == nil {
		err = serve(fd, Read(read))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "yardstick: bare worker: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Spec says what to start.
type Spec struct {
	Path  string // the program; "" is this one
	Read  Read
	Procs int // its GOMAXPROCS; 0 is Go's default
	// HandOver has the worker wait for its socket to be passed to it by Worker.HandOver; Worker.Ready tells when it does.
	HandOver bool
}

// Start starts a worker with nothing but fork and exec: no os/exec, no pipes.
func Start(spec Spec) (*Worker, error) {
	ours, theirs, err := Socketpair()
	if err != nil {
		return nil, err
	}
	defer syscall.Close(theirs)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		syscall.Close(ours)
		return nil, err
	}
	defer null.Close()
	path := spec.Path
	if path == "" {
		path = Self()
	}
	pid, err := syscall.ForkExec(path, []string{"yardstick bare worker"}, &syscall.ProcAttr{
		Env:   environment(spec),
		Files: []uintptr{null.Fd(), null.Fd(), 2, uintptr(theirs)},
	})
	if err != nil {
		syscall.Close(ours)
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return newWorker(pid, ours, spec.HandOver)
}

func environment(spec Spec) []string {
	value := string(spec.Read)
	if spec.HandOver {
		value += ",hand-over"
	}
	env := make([]string, 0, 16)
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "GOMAXPROCS=") {
			env = append(env, kv)
		}
	}
	if spec.Procs > 0 {
		env = append(env, fmt.Sprintf("GOMAXPROCS=%d", spec.Procs))
	}
	return append(env, envSpec+"="+value)
}
