package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"

	"github.com/bullpen-go/bullpen/internal/notimeouts"
	"github.com/bullpen-go/bullpen/wire"
)

// commandProcess is a running command.
type commandProcess struct {
	proc   *os.Process
	stdin  *os.File
	stdout *commandOutput
	lines  *commandLines
	line   bytes.Reader // what conn reads: one line at a time
	conn   *wire.Conn

	ended chan struct{} // closed when it was reaped
	state *os.ProcessState

	mu   sync.Mutex // guards ours
	ours bool       // end was called
}

// parse reads the message that a line is.
func (p *commandProcess) parse(line []byte, m *wire.Message) error {
	p.line.Reset(line)
	if err := p.conn.Read(m); err != nil {
		return plainly(err)
	}
	var rest wire.Message
	if err := p.conn.Read(&rest); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one message in the line")
	}
	return nil
}

// plainly says an error of parse in a reader's words.
func plainly(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the message doesn't end with the line")
	}
	text := strings.TrimPrefix(err.Error(), "bullpen: protocol violation: ")
	return errors.New(text)
}

// end ends the command.
func (p *commandProcess) end() {
	p.mu.Lock()
	p.ours = true
	p.mu.Unlock()
	p.proc.Kill()
	p.stdin.Close()
}

func (p *commandProcess) wasEnded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ours
}

// startCommand starts a command, in this process's group. It dies with this process. maxMessage limits the bodies of its
// messages, in bytes.
func startCommand(args []string, maxMessage int64) (*commandProcess, error) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return nil, fmt.Errorf("the command can't be started: %w", err)
	}
	theirIn, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirIn.Close()
	stdout, theirOut, err := os.Pipe()
	if err != nil {
		stdin.Close()
		return nil, err
	}
	defer theirOut.Close()
	p := &commandProcess{stdin: stdin, stdout: &commandOutput{File: stdout, untimed: notimeouts.On()}, ended: make(chan struct{})}
	p.lines = newCommandLines(p.stdout, maxMessage+commandEnvelope)
	p.conn = wire.NewWorkerConn(struct {
		io.Reader
		io.Writer
	}{&p.line, stdin}, wire.JSON, maxMessage)
	started := make(chan error)
	go p.run(path, args, []*os.File{theirIn, theirOut, os.Stderr}, started)
	if err := <-started; err != nil {
		stdin.Close()
		stdout.Close()
		return nil, fmt.Errorf("the command can't be started: %w", err)
	}
	return p, nil
}

// commandEnvelope is what a line may have beside its body: the meta, and what holds the message together.
const commandEnvelope = 1<<20 + 64<<10

// run starts the command, and waits for its end.
func (p *commandProcess) run(path string, args []string, files []*os.File, started chan<- error) {
	runtime.LockOSThread() // the command dies with the thread that started it
	proc, err := os.StartProcess(path, args, &os.ProcAttr{Files: files, Sys: commandAttr()})
	p.proc = proc
	started <- err
	if err != nil {
		return
	}
	p.state, _ = proc.Wait()
	p.stdout.end()
	close(p.ended)
}
