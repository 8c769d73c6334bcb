// Package forkserver gives a program a server process of its own, which spawns and watches worker processes of the
// same binary.
//
//	func main() {
//		forkserver.Init() // in the server and worker processes this never returns
//		srv, err := forkserver.Start(ctx, images, forkserver.Config{})
//		...
//		workers, err := pool.New(srv, pool.Config{})
//
// Start re-executes the binary as the server. Server and workers begin like any run of the program, with package
// variables and init functions, and end up in Init, which takes over. So Init must be the first line of main, and of
// TestMain in test packages:
//
//	func TestMain(m *testing.M) {
//		forkserver.Init()
//		os.Exit(m.Run())
//	}
//
// The app holds a pipe to the server, and the server one to its workers. However the app ends, by SIGKILL too, its
// server and workers end with it.
package forkserver

import "github.com/bullpen-go/bullpen/internal/role"

// Init runs this process's role: in a server or worker process it never returns, in the app it does nothing but note
// that it was called, which Start insists on. It must be called from main or TestMain, before anything that the
// children should not do too, and not from an init function. A second call does nothing.
func Init() { role.Dispatch() }
