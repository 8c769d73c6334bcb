//go:build linux || darwin

package pool_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/bullpen-go/bullpen/pool"
)

// benchPool returns a pool of which all workers are connected.
func benchPool(b *testing.B, workers int) *pool.Pool {
	b.Helper()
	p := newPool(b, sharedServer(b), pool.Config{MinWorkers: workers, MaxWorkers: workers})
	until(b, "all workers are connected", func() bool { return p.Stat().Idle == workers })
	b.ReportAllocs()
	return p
}

// parallel runs f b.N times in all, in n goroutines.
func parallel(b *testing.B, n int, f func() error) {
	b.Helper()
	ends := make(chan error, n)
	b.ResetTimer()
	for g := range n {
		go func() {
			var err error
			for i := g; i < b.N && err == nil; i += n {
				err = f()
			}
			ends <- err
		}()
	}
	for range n {
		if err := <-ends; err != nil {
			b.Error(err)
		}
	}
}

// BenchmarkEcho is one small call on a checkout that is held.
func BenchmarkEcho(b *testing.B) {
	ctx, co := context.Background(), checkout(b, benchPool(b, 1))
	for b.Loop() {
		if _, err := echoText.Call(ctx, co, "hello"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPoolCall is checkout, call and release.
func BenchmarkPoolCall(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("%d callers", n), func(b *testing.B) {
			ctx, p := context.Background(), benchPool(b, 8)
			parallel(b, n, func() error { _, err := echoText.Call(ctx, p, "hello"); return err })
		})
	}
}

// BenchmarkCheckout is checkout and release without a call.
func BenchmarkCheckout(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d callers", n), func(b *testing.B) {
			ctx, p := context.Background(), benchPool(b, 8)
			parallel(b, n, func() error {
				co, err := p.Checkout(ctx)
				if err == nil {
					co.Release()
				}
				return err
			})
		})
	}
}
