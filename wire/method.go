package wire

import (
	"context"
	"sync"
)

// None is the result type of methods without a result, and the argument type of nothing else.
type None struct{}

// A Method is a typed client for one method: In is its argument, Out its result. server.Handle returns one, and
// NewMethod declares one for a handler that is registered elsewhere with server.Bind. The zero Method is not usable.
type Method[In, Out any] struct {
	m *method[[1]any, struct{ a In }, Out]
}

// Method0 is a Method without arguments.
type Method0[Out any] struct {
	m *method[[0]any, struct{}, Out]
}

// Method2 is a Method with two arguments.
type Method2[A, B, Out any] struct {
	m *method[[2]any, args2[A, B], Out]
}

// Method3 is a Method with three arguments.
type Method3[A, B, C, Out any] struct {
	m *method[[3]any, args3[A, B, C], Out]
}

type args2[A, B any] struct {
	a A
	b B
}

type args3[A, B, C any] struct {
	a A
	b B
	c C
}

// NewMethod0 declares a method without arguments. See NewMethod.
func NewMethod0[Out any](name string) Method0[Out] {
	return Method0[Out]{newMethod[[0]any, struct{}, Out](name, func(*[0]any, *struct{}) []any { return nil })}
}

// NewMethod declares a method. The name must be the handler's, and not empty.
func NewMethod[In, Out any](name string) Method[In, Out] {
	return Method[In, Out]{newMethod[[1]any, struct{ a In }, Out](name, func(p *[1]any, in *struct{ a In }) []any {
		p[0] = &in.a
		return p[:]
	})}
}

// NewMethod2 declares a method with two arguments. See NewMethod.
func NewMethod2[A, B, Out any](name string) Method2[A, B, Out] {
	return Method2[A, B, Out]{newMethod[[2]any, args2[A, B], Out](name, func(p *[2]any, in *args2[A, B]) []any {
		p[0], p[1] = &in.a, &in.b
		return p[:]
	})}
}

// NewMethod3 declares a method with three arguments. See NewMethod.
func NewMethod3[A, B, C, Out any](name string) Method3[A, B, C, Out] {
	return Method3[A, B, C, Out]{newMethod[[3]any, args3[A, B, C], Out](name, func(p *[3]any, in *args3[A, B, C]) []any {
		p[0], p[1], p[2] = &in.a, &in.b, &in.c
		return p[:]
	})}
}

// Name returns the method's name.
func (m Method0[Out]) Name() string { return m.m.name }

// Name returns the method's name.
func (m Method[In, Out]) Name() string { return m.m.name }

// Name returns the method's name.
func (m Method2[A, B, Out]) Name() string { return m.m.name }

// Name returns the method's name.
func (m Method3[A, B, C, Out]) Name() string { return m.m.name }

// Call runs the method on a worker of c and waits for its result. With a pool or a view as c it is checkout, call
// and release; with a checkout it runs on that checkout's worker, behind the calls queued before it.
func (m Method0[Out]) Call(ctx context.Context, c Caller) (Out, error) {
	return m.m.call(ctx, c, struct{}{})
}

// Call runs the method. See Method0.Call.
func (m Method[In, Out]) Call(ctx context.Context, c Caller, in In) (Out, error) {
	return m.m.call(ctx, c, struct{ a In }{in})
}

// Call runs the method. See Method0.Call.
func (m Method2[A, B, Out]) Call(ctx context.Context, c Caller, a A, b B) (Out, error) {
	return m.m.call(ctx, c, args2[A, B]{a, b})
}

// Call runs the method. See Method0.Call.
func (m Method3[A, B, C, Out]) Call(ctx context.Context, c Caller, a A, b B, cc C) (Out, error) {
	return m.m.call(ctx, c, args3[A, B, C]{a, b, cc})
}

// Go queues the method on a worker of c and returns at once.
func (m Method0[Out]) Go(ctx context.Context, c Caller) *Pending[Out] {
	return m.m.start(ctx, c, struct{}{})
}

// Go queues the method on a worker of c and returns at once.
func (m Method[In, Out]) Go(ctx context.Context, c Caller, in In) *Pending[Out] {
	return m.m.start(ctx, c, struct{ a In }{in})
}

// Go queues the method on a worker of c and returns at once.
func (m Method2[A, B, Out]) Go(ctx context.Context, c Caller, a A, b B) *Pending[Out] {
	return m.m.start(ctx, c, args2[A, B]{a, b})
}

// Go queues the method on a worker of c and returns at once.
func (m Method3[A, B, C, Out]) Go(ctx context.Context, c Caller, a A, b B, cc C) *Pending[Out] {
	return m.m.start(ctx, c, args3[A, B, C]{a, b, cc})
}

// Pending is a call that was started with Go.
type Pending[Out any] struct {
	call *Call
	out  *Out
}

// Done returns a channel that is closed when the call has ended.
func (p *Pending[Out]) Done() <-chan struct{} { return p.call.Done() }

// Wait waits for the call's end and returns its result. It may be called more than once.
func (p *Pending[Out]) Wait() (Out, error) {
	<-p.call.Done()
	if err := p.call.Err(); err != nil {
		var zero Out
		return zero, err
	}
	return *p.out, nil
}

// Cost returns what the call took. It waits for the call's end.
func (p *Pending[Out]) Cost() Cost {
	<-p.call.Done()
	return p.call.Cost
}

// method is what all Methods share. P is the array of pointers to the arguments, In the struct of arguments.
type method[P, In, Out any] struct {
	name  string
	point func(*P, *In) []any
	boxes sync.Pool // of *box[P, In, Out]
}

// box holds all that a call needs, so that a call through an interface doesn't allocate its parts one by one.
type box[P, In, Out any] struct {
	call Call
	ptrs P
	in   In
	out  Out
}

func newMethod[P, In, Out any](name string, point func(*P, *In) []any) *method[P, In, Out] {
	return &method[P, In, Out]{name: name, point: point}
}

// fill makes b a call with the given arguments.
func (m *method[P, In, Out]) fill(b *box[P, In, Out], in In) {
	b.in = in
	b.call.Method = m.name
	b.call.Args = m.point(&b.ptrs, &b.in)
	b.call.Reply = &b.out
}

func (m *method[P, In, Out]) call(ctx context.Context, c Caller, in In) (Out, error) {
	b, _ := m.boxes.Get().(*box[P, In, Out])
	if b == nil {
		b = new(box[P, In, Out])
	}
	m.fill(b, in)
	err := c.Do(ctx, &b.call)
	var out Out
	if err == nil { // a failed decode may have left half a result
		out = b.out
	}
	*b = box[P, In, Out]{} // keep nothing of the caller's alive
	m.boxes.Put(b)
	return out, err
}

func (m *method[P, In, Out]) start(ctx context.Context, c Caller, in In) *Pending[Out] {
	b := new(box[P, In, Out])
	m.fill(b, in)
	b.call.Begin()
	c.Go(ctx, &b.call)
	return &Pending[Out]{&b.call, &b.out}
}
