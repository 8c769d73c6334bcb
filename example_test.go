//go:build linux || darwin

package bullpen_test

import (
	"context"
	"fmt"
	"log"

	"golang.org/x/crypto/bcrypt"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

var passwords = server.NewService("passwd-hasher", server.Hooks{})

var hash = server.Handle(passwords, "hash", func(ctx context.Context, plaintext string) (string, error) {
	b, err := bcrypt.GenerateFromPassword([]byte(plaintext), 10)
	return string(b), err
})

var verify = server.Handle2(passwords, "verify", func(ctx context.Context, crypted, plaintext string) (bool, error) {
	return bcrypt.CompareHashAndPassword([]byte(crypted), []byte(plaintext)) == nil, nil
})

// A program that hashes a password in a worker process, and verifies it in another. Its main begins with
// forkserver.Init(), as TestMain does in a test.
func Example() {
	ctx := context.Background()
	srv, err := forkserver.Start(ctx, passwords, forkserver.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()

	workers, err := pool.New(srv, pool.Config{MaxWorkers: 4})
	if err != nil {
		log.Fatal(err)
	}
	defer workers.Close()

	crypted, err := hash.Call(ctx, workers, "secret") // checkout, call, release
	if err != nil {
		log.Fatal(err)
	}

	co, err := workers.Checkout(ctx) // or hold one worker for several calls
	if err != nil {
		log.Fatal(err)
	}
	defer co.Release()
	ok, err := verify.Call(ctx, co, crypted, "secret")
	fmt.Println(ok, err)
	// Output: true <nil>
}
