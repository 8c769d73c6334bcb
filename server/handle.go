package server

import (
	"context"
	"fmt"

	"github.com/bullpen-go/bullpen/wire"
)

// handler makes invokers. A worker has its own invoker of each method, so that one may keep its memory.
type handler func() invoker

// invoker runs one call at a time.
type invoker interface {
	// invoke decodes the arguments, runs the user's function and returns a pointer to its result, which is valid
	// until forget.
	invoke(ctx context.Context, m *wire.Message) (result any, err error)
	// forget drops the arguments and the result.
	forget()
}

// Handle0 registers f as a method without arguments. See Handle.
func Handle0[Out any](s *Service, name string, f func(context.Context) (Out, error)) wire.Method0[Out] {
	m := wire.NewMethod0[Out](name)
	Bind0(s, m, f)
	return m
}

// Handle registers f as a method of the service and returns the method's typed client. f runs in a worker, one call
// at a time. Its context ends when the caller's does, when the caller vanishes, and when f has returned.
//
// An error arrives at the caller as *wire.RemoteError. A panic does too, and retires the worker.
func Handle[In, Out any](s *Service, name string, f func(context.Context, In) (Out, error)) wire.Method[In, Out] {
	m := wire.NewMethod[In, Out](name)
	Bind(s, m, f)
	return m
}

// Handle2 registers f as a method with two arguments. See Handle.
func Handle2[A, B, Out any](s *Service, name string, f func(context.Context, A, B) (Out, error)) wire.Method2[A, B, Out] {
	m := wire.NewMethod2[A, B, Out](name)
	Bind2(s, m, f)
	return m
}

// Handle3 registers f as a method with three arguments. See Handle.
func Handle3[A, B, C, Out any](s *Service, name string, f func(context.Context, A, B, C) (Out, error)) wire.Method3[A, B, C, Out] {
	m := wire.NewMethod3[A, B, C, Out](name)
	Bind3(s, m, f)
	return m
}

// Bind0 is Bind for a method without arguments.
func Bind0[Out any](s *Service, m wire.Method0[Out], f func(context.Context) (Out, error)) {
	bind(s, m.Name(), func(*struct{}) []any { return nil },
		func(ctx context.Context, _ *struct{}) (Out, error) { return f(ctx) }, f == nil)
}

// Bind registers f as the handler of a method that was declared elsewhere with wire.NewMethod: for clients that must
// not link the handler, and for handlers that use the method themselves.
func Bind[In, Out any](s *Service, m wire.Method[In, Out], f func(context.Context, In) (Out, error)) {
	bind(s, m.Name(), func(in *In) []any { return []any{in} },
		func(ctx context.Context, in *In) (Out, error) { return f(ctx, *in) }, f == nil)
}

// Bind2 is Bind for a method with two arguments.
func Bind2[A, B, Out any](s *Service, m wire.Method2[A, B, Out], f func(context.Context, A, B) (Out, error)) {
	type args struct {
		a A
		b B
	}
	bind(s, m.Name(), func(in *args) []any { return []any{&in.a, &in.b} },
		func(ctx context.Context, in *args) (Out, error) { return f(ctx, in.a, in.b) }, f == nil)
}

// Bind3 is Bind for a method with three arguments.
func Bind3[A, B, C, Out any](s *Service, m wire.Method3[A, B, C, Out], f func(context.Context, A, B, C) (Out, error)) {
	type args struct {
		a A
		b B
		c C
	}
	bind(s, m.Name(), func(in *args) []any { return []any{&in.a, &in.b, &in.c} },
		func(ctx context.Context, in *args) (Out, error) { return f(ctx, in.a, in.b, in.c) }, f == nil)
}

// HandleAny registers f for all calls that no method matches. Without it they are answered with an error. A second
// HandleAny is a mistake that starting the service reports.
func HandleAny(s *Service, f func(context.Context, *Request) (any, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.any != nil {
		s.fault("service %q has two HandleAny", s.name)
	}
	s.any = f
}

// Request is a call as HandleAny gets it. It is valid until the handler returns.
type Request struct {
	// Method is the method's name. On the JSON wire it is empty if the first argument isn't a string: AnyEvent::Task
	// calls a service without naming a method.
	Method string
	m      *wire.Message
}

// Len returns the number of arguments.
func (r *Request) Len() int { return r.m.Len() }

// Decode decodes the arguments into dst, one pointer an argument. The number must match.
func (r *Request) Decode(dst ...any) error { return r.m.Decode(dst...) }

// Args returns all arguments, decoded as wire.Message.Decode does into an *any.
func (r *Request) Args() ([]any, error) { return r.m.DecodeAll() }

// bind registers a typed handler. point returns the places that a call's arguments are decoded into.
func bind[In, Out any](s *Service, name string, point func(*In) []any, f func(context.Context, *In) (Out, error), none bool) {
	if none {
		s.mu.Lock()
		s.fault("method %q of service %q has no function", name, s.name)
		s.mu.Unlock()
		return
	}
	s.add(name, func() invoker {
		v := &typed[In, Out]{f: f}
		v.dst = point(&v.in)
		v.result = &v.out
		return v
	})
}

// typed is the invoker of a typed method. All that a call needs was allocated before it.
type typed[In, Out any] struct {
	f      func(context.Context, *In) (Out, error)
	in     In
	out    Out
	dst    []any
	result any
}

func (v *typed[In, Out]) invoke(ctx context.Context, m *wire.Message) (any, error) {
	if err := m.Decode(v.dst...); err != nil {
		return nil, err
	}
	var err error
	v.out, err = v.f(ctx, &v.in)
	return v.result, err
}

func (v *typed[In, Out]) forget() {
	var in In
	var out Out
	v.in, v.out = in, out
}

// catchAll is the invoker of HandleAny.
type catchAll func(context.Context, *Request) (any, error)

func (f catchAll) invoke(ctx context.Context, m *wire.Message) (any, error) {
	m.Detach() // f may decode it while the watch reads the connection
	return f(ctx, &Request{Method: m.Method, m: m})
}

func (catchAll) forget() {}

// unknown answers calls of methods that don't exist.
type unknown struct{ service string }

func (u unknown) invoke(_ context.Context, m *wire.Message) (any, error) {
	return nil, wire.WithCode(fmt.Errorf("service %q has no method %q", u.service, m.Method), CodeNoMethod)
}

func (unknown) forget() {}

// CodeNoMethod is the wire.RemoteError.Code of a call whose method doesn't exist.
const CodeNoMethod = "no such method"
