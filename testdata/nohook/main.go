//go:build unix

// Command nohook is a program whose main calls Start without Init. With NOHOOK=serve in its environment it calls
// ListenAndServe instead, and with NOHOOK=work neither, as any other program.
package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/server"
)

var service = server.NewService("nohook", server.Hooks{})

func main() {
	if os.Getenv("NOHOOK") == "work" {
		fmt.Println("working")
		time.Sleep(time.Hour)
	}
	var err error
	if os.Getenv("NOHOOK") == "serve" {
		err = server.ListenAndServe(context.Background(), "unix", os.Getenv("SOCKET"), service)
	} else {
		_, err = forkserver.Start(context.Background(), service, forkserver.Config{})
	}
	fmt.Printf("error: %v\n", err)
	fmt.Printf("children: %v\n", hadChildren())
	if err == nil {
		os.Exit(1)
	}
}

// hadChildren reports whether this process has or had a child.
func hadChildren() bool {
	var used syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_CHILDREN, &used)
	_, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
	return used.Maxrss > 0 || err != syscall.ECHILD
}
