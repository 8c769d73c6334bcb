package forkserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/internal/notimeouts"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

const defaultStartTimeout = 10 * time.Second

// Start starts a server process for the service and returns once it has answered. ctx bounds the start only, beside
// Config.StartTimeout. The server ends with Close, with Shutdown, or with this process, however that ends; a Process
// that nobody keeps stays alive. Several may run at once.
//
// It returns an error, and starts nothing, if Init was not called, if the service's declaration has a mistake, or if
// an address can't be listened on.
func Start(ctx context.Context, s *server.Service, c Config) (*Process, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	p, err := newProcess(s, c)
	if err != nil {
		return nil, err
	}
	in, err := p.launch(ctx)
	if err != nil {
		p.closeListeners()
		return nil, fmt.Errorf("bullpen: start the server of %q: %w", s.Name(), err)
	}
	live.Store(p, struct{}{})
	p.serveBy(in)
	return p, nil
}

// newProcess checks the config, fixes what belongs to the moment of Start, and binds the listeners.
func newProcess(s *server.Service, c Config) (*Process, error) {
	p := &Process{svc: s, config: c, logger: c.Logger, done: make(chan struct{}), closing: make(chan struct{}),
		restarting: make(chan struct{}, 1), changed: make(chan struct{})}
	if c.StartTimeout == 0 {
		p.config.StartTimeout = defaultStartTimeout
	}
	if p.logger == nil {
		p.logger = hclog.NewNullLogger()
	}
	if c.Env == nil {
		p.config.Env = os.Environ()
	}
	if notimeouts.On() {
		p.config.StartTimeout, p.config.Limits.CancelGrace = -1, notimeouts.Forever
		p.config.Env = notimeouts.Env(p.config.Env)
		notimeouts.Warn(c.Logger, "service", s.Name())
	}
	var err error
	if c.Dir == "" {
		if p.config.Dir, err = os.Getwd(); err != nil {
			return nil, fmt.Errorf("bullpen: working directory: %w", err)
		}
	}
	if c.SetupData != nil {
		if p.setupData, err = wire.Marshal(c.SetupData); err != nil {
			return nil, fmt.Errorf("bullpen: Config.SetupData: %w", err)
		}
	}
	for _, a := range c.Listen {
		network, address, err := server.Address(a)
		if err == nil {
			var l net.Listener
			if l, err = server.Listen(s, network, address); err == nil {
				p.listeners = append(p.listeners, l)
				continue
			}
		}
		p.closeListeners()
		return nil, err
	}
	return p, nil
}

func (p *Process) closeListeners() {
	for _, l := range p.listeners {
		l.Close()
	}
}

// Addrs returns the addresses that the server listens on, in the order of Config.Listen: with port 0, the port that
// was chosen.
func (p *Process) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(p.listeners))
	for i, l := range p.listeners {
		addrs[i] = l.Addr()
	}
	return addrs
}
