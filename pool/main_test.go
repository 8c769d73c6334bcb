//go:build linux || darwin

package pool_test

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/leaktest"
)

func TestMain(m *testing.M) {
	forkserver.Init()
	os.Exit(leaktest.Main(suite{m}))
}

// suite is all tests, and the server that most of them share.
type suite struct{ m *testing.M }

func (s suite) Run() int {
	code := s.m.Run()
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared != nil && shared.Close() != nil {
		return 1
	}
	return code
}

var (
	sharedMu sync.Mutex // guards shared
	shared   *forkserver.Process
)

// sharedServer returns the server of the service plain that tests share which don't change it. Each has a pool, and so
// workers, of its own.
func sharedServer(t testing.TB) *forkserver.Process {
	t.Helper()
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared == nil {
		var err error
		if shared, err = forkserver.Start(context.Background(), plain, forkserver.Config{}); err != nil {
			t.Fatal(err)
		}
	}
	return shared
}
