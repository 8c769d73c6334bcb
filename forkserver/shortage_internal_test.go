package forkserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

func TestShortages(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want bool
	}{
		{&os.PathError{Op: "fork/exec", Path: "/proc/self/exe", Err: syscall.EAGAIN}, true},
		{fmt.Errorf("start: %w", os.NewSyscallError("pipe2", syscall.EMFILE)), true},
		{os.NewSyscallError("socketpair", syscall.ENFILE), true},
		{syscall.ENOMEM, true},
		{fmt.Errorf("the server: %w", &shortageError{"scoreboard: too many open files"}), true},
		{startFailure("it ended: x", "runtime: failed to create new OS thread (have 4 already; errno=11)"), true},
		{startFailure("it ended: x", "panic: no"), false},
		{fs.ErrNotExist, false},
		{syscall.EACCES, false},
		{errors.New("too many open files"), false},
		{nil, false},
	} {
		if got := isShortage(test.err); got != test.want {
			t.Errorf("%v: %t", test.err, got)
		}
	}
}
