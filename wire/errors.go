package wire

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrTooLarge is wrapped by the error for a message whose body exceeds the receiver's MaxMessage. Nothing of
// such a message was sent.
var ErrTooLarge = errors.New("larger than MaxMessage allows")

// ErrServerGone says that the server process has ended for good, and with it its workers. Package pool has the
// same value under the same name.
var ErrServerGone = errors.New("bullpen: the server process has ended")

// RemoteError is a handler's error or panic, as it arrives in the app. Sentinel errors don't cross processes;
// a Code does: give an error one with WithCode.
type RemoteError struct {
	Message string `cbor:"1,keyasint"`           // err.Error(), or the panic's value
	Type    string `cbor:"2,keyasint,omitempty"` // the error's Go type, or "panic"
	Code    string `cbor:"3,keyasint,omitempty"` // see WithCode
	Stack   string `cbor:"4,keyasint,omitempty"` // of a panic
}

// Error returns the message as the handler wrote it.
func (e *RemoteError) Error() string {
	if e.Type == TypePanic {
		return "panic in the worker: " + e.Message
	}
	return e.Message
}

// Is reports whether target is a *RemoteError with the same non-empty Code.
func (e *RemoteError) Is(target error) bool {
	t, ok := target.(*RemoteError)
	return ok && t.Code != "" && t.Code == e.Code
}

// valid returns e with what isn't UTF-8 in it replaced: an error's text may be anything, and must not keep the
// error from being sent.
func (e *RemoteError) valid() *RemoteError {
	if e == nil {
		return &RemoteError{}
	}
	if utf8.ValidString(e.Message) && utf8.ValidString(e.Type) && utf8.ValidString(e.Code) && utf8.ValidString(e.Stack) {
		return e
	}
	return &RemoteError{Message: validText(e.Message), Type: validText(e.Type), Code: validText(e.Code), Stack: validText(e.Stack)}
}

func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// TypePanic is the Type of a RemoteError that was a panic.
const TypePanic = "panic"

// WithCode returns err with a code that crosses the process boundary as RemoteError.Code. It is for handlers;
// errors.Is and As see through it. A nil err stays nil.
func WithCode(err error, code string) error {
	if err == nil {
		return nil
	}
	return &codedError{err, code}
}

type codedError struct {
	error
	code string
}

func (e *codedError) Unwrap() error     { return e.error }
func (e *codedError) ErrorCode() string { return e.code }

// NewRemoteError describes a handler's error for the wire. An error anywhere in err's chain that has a method
// ErrorCode() string gives the code. A *RemoteError that a worker got from a worker of its own passes as it is.
func NewRemoteError(err error) *RemoteError {
	re := &RemoteError{Message: err.Error(), Type: fmt.Sprintf("%T", err)}
	var coded interface{ ErrorCode() string }
	if errors.As(err, &coded) {
		re.Code = coded.ErrorCode()
	}
	for {
		if c, ok := err.(*codedError); ok { // the wrapper's type says nothing
			err = c.error
			re.Type = fmt.Sprintf("%T", err)
			continue
		}
		break
	}
	if r, ok := err.(*RemoteError); ok {
		inner := *r
		if re.Code != "" {
			inner.Code = re.Code
		}
		return &inner
	}
	return re
}

// SetupError says that a worker's Setup hook failed, or took longer than SetupTimeout. On the JSON wire it is an
// er reply that begins with "setup exception: ".
type SetupError struct {
	Service string `cbor:"1,keyasint,omitempty"`
	Message string `cbor:"2,keyasint"`
	Type    string `cbor:"3,keyasint,omitempty"`
	Code    string `cbor:"4,keyasint,omitempty"`
	Stack   string `cbor:"5,keyasint,omitempty"` // of a panic
	Pid     int    `cbor:"6,keyasint,omitempty"`
}

// Error implements error.
func (e *SetupError) Error() string {
	if e.Service == "" {
		return "setup exception: " + e.Message
	}
	return fmt.Sprintf("bullpen: the setup of a %q worker failed: %s", e.Service, e.Message)
}

// SafeToRetry is true: no call was sent.
func (e *SetupError) SafeToRetry() bool { return true }

// CodecError says that a value can't be encoded, or that what arrived can't be decoded into the given type. The
// worker and the checkout stay usable.
type CodecError struct {
	Op   string // "encode" or "decode"
	What string // which value
	Err  error
}

// Error implements error.
func (e *CodecError) Error() string {
	return fmt.Sprintf("bullpen: can't %s %s: %v", e.Op, e.What, e.Err)
}

// Unwrap returns the codec's own error.
func (e *CodecError) Unwrap() error { return e.Err }

// SafeToRetry reports whether the call was never sent, which is so if its arguments could not be encoded.
func (e *CodecError) SafeToRetry() bool { return e.Op == "encode" }

// ProtocolError says that the other side sent something that is not a message of the protocol, or not one that
// may come now. The connection can't be used any more.
type ProtocolError struct {
	Message string
	Err     error // may be nil
}

// Error implements error.
func (e *ProtocolError) Error() string {
	if e.Err != nil {
		return "bullpen: protocol violation: " + e.Message + ": " + e.Err.Error()
	}
	return "bullpen: protocol violation: " + e.Message
}

// Unwrap returns what led to it, or nil.
func (e *ProtocolError) Unwrap() error { return e.Err }

func violation(format string, args ...any) error {
	return &ProtocolError{Message: fmt.Sprintf(format, args...)}
}

// SafeToRetry reports whether the call that ended with err provably never ran: it was never sent, or its worker
// never read it. It is false for nil and for errors it doesn't know.
func SafeToRetry(err error) bool {
	var r interface{ SafeToRetry() bool }
	return errors.As(err, &r) && r.SafeToRetry()
}
