package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log"

	"github.com/bullpen-go/bullpen/wire"
)

// A client and a worker on one byte stream. On the JSON wire a message is a line of text.
func ExampleConn() {
	var stream bytes.Buffer
	client := wire.NewClientConn(&stream, wire.JSON, 0)
	call := wire.Message{Type: wire.TypeDo, Method: "verify", Values: []any{"$2a$10$…", "secret"}}
	if err := client.Write(&call); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", stream.String())

	worker := wire.NewWorkerConn(&stream, wire.JSON, 0)
	var m wire.Message
	if err := worker.Read(&m); err != nil {
		log.Fatal(err)
	}
	var crypted, plaintext string
	if err := m.Decode(&crypted, &plaintext); err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Type, m.Method, crypted, plaintext)
	// Output:
	// "\n[\"do\",{},\"verify\",\"$2a$10$…\",\"secret\"]\n"
	// do verify $2a$10$… secret
}

// A handler's error has no identity in the app: no sentinel crosses processes. A code does.
func ExampleWithCode() {
	handler := func() error {
		return wire.WithCode(fmt.Errorf("open page 7: %w", fs.ErrNotExist), "NOPAGE")
	}

	var arrived error = wire.NewRemoteError(handler()) // what a caller gets
	fmt.Println(arrived)
	fmt.Println(errors.Is(arrived, fs.ErrNotExist))
	fmt.Println(errors.Is(arrived, &wire.RemoteError{Code: "NOPAGE"}))
	// Output:
	// open page 7: file does not exist
	// false
	// true
}

// An error says by itself whether its call can be made again without the risk of running twice.
func ExampleSafeToRetry() {
	fmt.Println(wire.SafeToRetry(&wire.SetupError{Message: "no database"}))  // no worker was ready
	fmt.Println(wire.SafeToRetry(&wire.RemoteError{Message: "no such row"})) // it ran, and failed
	// Output:
	// true
	// false
}
