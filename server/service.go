package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"

	"github.com/bullpen-go/bullpen/internal/role"
)

// Service is a named set of methods, with hooks that run in its workers. Declare it and its methods in package
// variables: a worker is a process of its own, which knows only what stands before forkserver.Init.
type Service struct {
	name    string
	hooks   Hooks
	command *Command // what does the work, if it is another program

	mu       sync.Mutex // guards all below
	handlers map[string]handler
	any      func(context.Context, *Request) (any, error)
	problem  error // the first mistake in the declaration
	late     error // it was declared where worker processes don't get to
}

// Hooks are called in each worker. All are optional.
type Hooks struct {
	// Setup runs once, before the worker's first call, for at most Limits.SetupTimeout. Its context lives as long as
	// the worker. If it fails, or panics, the worker ends and whoever waits for it gets a *wire.SetupError.
	Setup func(context.Context) error
	// CheckoutDone runs after every release of a live worker, before the next checkout. Its error or panic retires
	// the worker.
	CheckoutDone func(context.Context) error
	// TLS returns the configuration of TCP listeners. Off loopback it is required, and must demand client
	// certificates.
	TLS func() (*tls.Config, error)
}

var (
	servicesMu sync.Mutex // guards services
	services   = map[string]*Service{}
)

// NewService declares a service. Its name stands in errors, logs and process titles, and is how a worker finds the
// service, so each service of a program needs its own. Mistakes (no name, a name that is taken, a declaration after
// forkserver.Init) are reported by whatever starts the service.
func NewService(name string, h Hooks) *Service {
	s := &Service{name: name, hooks: h, handlers: map[string]handler{}}
	servicesMu.Lock()
	defer servicesMu.Unlock()
	switch {
	case name == "":
		s.fault("a service without a name: give server.NewService one")
	case services[name] != nil:
		s.fault("two services are named %q: a worker could not tell them apart", name)
	default:
		services[name] = s
		if role.Dispatched() {
			s.late = fmt.Errorf("bullpen: service %q is declared after forkserver.Init, where no worker gets to: "+
				"declare it in a package variable", name)
		}
	}
	return s
}

// Name returns the service's name.
func (s *Service) Name() string { return s.name }

// Check returns the first mistake in the service's declaration, or nil. forkserver.Start and Server.Serve call it.
func (s *Service) Check() error {
	if s == nil {
		return fmt.Errorf("bullpen: no service: pass what server.NewService returned")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem != nil {
		return s.problem
	}
	return s.late
}

// fault notes the first mistake.
func (s *Service) fault(format string, args ...any) {
	if s.problem == nil {
		s.problem = fmt.Errorf("bullpen: "+format, args...)
	}
}

// add registers a method's handler.
func (s *Service) add(method string, h handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case method == "":
		s.fault("service %q has a method without a name", s.name)
	case s.handlers[method] != nil:
		s.fault("service %q has two methods %q", s.name, method)
	default:
		s.handlers[method] = h
		if role.Dispatched() {
			s.late = fmt.Errorf("bullpen: method %q of service %q is declared after forkserver.Init, where no worker "+
				"gets to: declare it in a package variable", method, s.name)
		}
	}
}

// Lookup returns the service that the program declares under the name, or nil.
func Lookup(name string) *Service {
	servicesMu.Lock()
	defer servicesMu.Unlock()
	return services[name]
}
