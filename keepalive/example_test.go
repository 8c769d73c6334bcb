package keepalive_test

import (
	"fmt"
	"log"

	"github.com/bullpen-go/bullpen/keepalive"
)

// Both sides in one process. The child's end usually goes to another one, through exec.Cmd.ExtraFiles.
func Example() {
	hold, child, err := keepalive.New()
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan struct{})
	w, err := keepalive.Watch(child, func() { close(ended) })
	if err != nil {
		log.Fatal(err)
	}
	defer w.Stop()

	hold.Close() // or the end of the process that holds it, in whatever way
	<-ended
	fmt.Println("the holder is gone")
	// Output: the holder is gone
}
