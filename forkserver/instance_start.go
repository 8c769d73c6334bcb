//go:build linux || darwin

package forkserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/bullpen-go/bullpen/internal/control"
	"github.com/bullpen-go/bullpen/internal/process"
	"github.com/bullpen-go/bullpen/internal/role"
	"github.com/bullpen-go/bullpen/keepalive"
)

// launch starts a server and waits for its answer, for StartTimeout at most.
func (p *Process) launch(ctx context.Context) (*instance, error) {
	if err := role.CheckApp(); err != nil {
		return nil, err
	}
	if max := p.config.StartTimeout; max > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, max, fmt.Errorf("no answer within StartTimeout (%v)", max))
		defer cancel()
	}
	in := &instance{p: p, ready: make(chan control.Ready, 1), decided: make(chan struct{}),
		dead: make(chan struct{}), conns: map[uint64]*conn{}}
	if err := in.spawn(); err != nil {
		return nil, err
	}
	go in.run()
	limits := p.config.Limits
	if p.ahead() > 0 {
		limits.Standby = 0 // those of the stock are all that there are
	}
	config := serverConfig{Service: p.svc.Name(), Limits: limits, SetupData: p.setupData,
		Listeners: len(p.listeners), Events: p.config.OnEvent != nil, Path: p.config.Path}
	// Large setup data blocks until the server reads it. If sending fails, the server has died, which is seen below.
	go in.ctl.Send(control.AppConfig, config)
	if err := in.await(ctx); err != nil {
		close(in.decided)
		in.kill()
		return nil, err
	}
	return in, nil // serveBy decides
}

// await waits for the server's answer, and checks it.
func (in *instance) await(ctx context.Context) error {
	select {
	case r := <-in.ready:
		switch {
		case r.Err != "" && r.Shortage:
			return &shortageError{r.Err}
		case r.Err != "":
			return errors.New(r.Err)
		}
		if in.p.config.Path == "" && r.Build != role.Build() {
			return errors.New("the program's file was replaced since this process began, and the server is the new one: restart the program")
		}
		return nil
	case <-in.dead:
		return in.startError()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// startError tells why a server ended before it answered.
func (in *instance) startError() error {
	head, _, _, _ := in.stderr.Ends()
	said := strings.TrimSpace(string(head))
	if said == "" {
		said = "it said nothing; does its main begin with forkserver.Init()?"
	}
	return startFailure("the process ended before it answered: "+said, said)
}

// spawn starts the process, with descriptors in the order of package role.
func (in *instance) spawn() (err error) {
	p := in.p
	var files []*os.File // the child's, closed here once it has them
	defer func() {
		for _, f := range files {
			f.Close()
		}
		if err != nil {
			in.hold.Close()
			if in.ctl != nil {
				in.ctl.Close()
			}
			if in.output != nil {
				in.output.Close()
			}
		}
	}()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	files = append(files, null)
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	in.output = r
	files = append(files, w)
	ctl, theirs, err := control.Pair()
	if err != nil {
		return err
	}
	in.ctl = ctl
	hold, child, err := keepalive.New()
	if err != nil {
		theirs.Close()
		return err
	}
	in.hold = hold
	files = append(files, theirs, child)
	for _, l := range p.listeners {
		f, err := l.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	in.proc, err = process.Start(process.Spec{
		Path:  p.config.Path,
		Title: "bullpen server: " + p.svc.Name(),
		Env:   role.Mark(p.config.Env, role.Server, 0),
		Dir:   p.config.Dir,
		Files: append([]*os.File{null, w}, files[1:]...), // stdout and stderr are one pipe
		Death: syscall.SIGKILL,                           // until Init in the server sets another: see package role
	})
	return err
}
