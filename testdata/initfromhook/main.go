// Command initfromhook is a program that calls Init from an init function. With INITFROMHOOK=twice it calls it in main
// as well.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/server"
)

var service = server.NewService("initfromhook", server.Hooks{})

func init() { forkserver.Init() }

func main() {
	if os.Getenv("INITFROMHOOK") == "twice" {
		forkserver.Init()
	}
	_, err := forkserver.Start(context.Background(), service, forkserver.Config{})
	fmt.Printf("error: %v\n", err)
	if err == nil {
		os.Exit(1)
	}
}
