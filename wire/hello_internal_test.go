package wire

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Hellos are encoded and decoded as the library would do it, and so is what isn't quite one.
func TestHelloAgrees(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	hellos := []Hello{{}, {Version: 255, MaxMessage: math.MaxInt64, Name: strings.Repeat("λ", 200), Pid: math.MaxInt, Number: -1, Hook: true,
		Grace: math.MinInt64, Build: "b", Lane: 255}, {Version: 1, Setup: &SetupError{Message: "m"}}, {Grace: time.Second, MaxMessage: -5}}
	for range 500 {
		some := func(v int64) int64 { return v * rng.Int64N(2) }
		hellos = append(hellos, Hello{Version: uint8(some(1)), MaxMessage: some(rng.Int64()), Name: strings.Repeat("x", int(some(30))),
			Pid: int(some(70000)), Number: int(some(3)), Hook: some(1) == 1, Grace: time.Duration(some(1e9)), Build: strings.Repeat("b", int(some(83))), Lane: uint8(some(1))})
	}
	direct := 0
	for _, h := range hellos {
		b, err := appendHello(nil, h.valid())
		lib, lerr := appendReflected(nil, h.valid())
		if err != nil || lerr != nil || !bytes.Equal(b, lib) {
			t.Fatalf("%+v: directly % x, %v; by the library % x, %v", h, b, err, lib, lerr)
		}
		for i := range 200 {
			spoiled := bytes.Clone(b)
			if i > 0 {
				spoiled[rng.IntN(len(b))] = byte(rng.Uint32())
				spoiled = spoiled[:len(b)-rng.IntN(2)*rng.IntN(len(b))]
			}
			var got, want Hello
			ok := decodeHello(spoiled, &got)
			err := decMode.Unmarshal(spoiled, &want)
			if ok && (err != nil || got != want) {
				t.Fatalf("% x: directly %+v; by the library %+v, %v", spoiled, got, want, err)
			}
			if ok {
				direct++
			}
			if i == 0 && ok == (h.Setup != nil) {
				t.Errorf("%+v is decoded directly: %t", h, ok)
			}
		}
	}
	if direct < 1000 {
		t.Errorf("%d were decoded directly", direct)
	}
}
