//go:build !linux

package lane_test

import (
	"errors"
	"testing"

	"github.com/bullpen-go/bullpen/internal/lane"
)

func TestUnsupported(t *testing.T) {
	t.Parallel()
	if _, err := lane.Create(lane.DefaultRing); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Create: %v", err)
	}
	if _, err := lane.Open(0); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Open: %v", err)
	}
}
