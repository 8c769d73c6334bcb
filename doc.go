// Package bullpen is where the documentation begins: it has no code. bullpen gives a Go program a pool of worker
// processes of its own binary. A call into a worker looks like a function call, is checked by the compiler, and can
// crash, hang, leak or be killed without touching the program.
//
// A service and its methods are package variables. Each method's value is both: the handler that runs in workers,
// and the typed client that calls it.
//
//	var images = server.NewService("images", server.Hooks{})
//
//	var thumbnail = server.Handle2(images, "thumbnail", func(ctx context.Context, png []byte, size int) ([]byte, error) {
//		return scale(png, size)
//	})
//
// The program starts a server process, which starts and watches workers, and makes a pool of them:
//
//	func main() {
//		forkserver.Init() // in the server and worker processes this never returns
//
//		srv, err := forkserver.Start(ctx, images, forkserver.Config{})
//		...
//		workers, err := pool.New(srv, pool.Config{})
//		...
//		small, err := thumbnail.Call(ctx, workers, png, 64)
//
// The packages, from the one that most programs begin with:
//
//   - [github.com/bullpen-go/bullpen/forkserver] starts a server process of the program's own.
//   - [github.com/bullpen-go/bullpen/pool] hands out workers, first come first served.
//   - [github.com/bullpen-go/bullpen/server] declares services, and serves clients in other programs.
//   - [github.com/bullpen-go/bullpen/wire] has what app and worker say to each other: methods, errors, messages.
//   - [github.com/bullpen-go/bullpen/keepalive] ties one process to another with a pipe, for any program.
//
// The command bullpen demo shows all of it at work, and its source is the next thing to read after the example.
package bullpen
