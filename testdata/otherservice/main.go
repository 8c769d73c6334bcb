// Command otherservice is a program that does all it should, for a service of its own.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/server"
)

var service = server.NewService("otherservice", server.Hooks{})

func main() {
	forkserver.Init()
	srv, err := forkserver.Start(context.Background(), service, forkserver.Config{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	srv.Close()
}
