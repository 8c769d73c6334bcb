// Package pooltest is for tests of programs that use a pool: workers that run in the test's own process, and faults that
// happen when a test wants them.
//
// InProcess is a dialer whose workers are goroutines. Breakpoints, coverage and the race detector see the handlers, and
// nothing is started, so no forkserver.Init is needed, and Windows will do:
//
//	d := pooltest.InProcess(passwords, pooltest.Config{})
//	defer d.Close()
//	workers, err := pool.New(d, pool.Config{})
//	...
//	defer workers.Close()
//	crypted, err := hash.Call(ctx, workers, "secret")
//
// Inject has the workers of any dialer crash, hang, be slow or fail, with the errors that a pool really gives then:
//
//	workers, err := pool.New(pooltest.Inject(d, pooltest.Fault{Kind: pooltest.Crash, Call: 2}), pool.Config{})
//
// Some things only a process has. In this one a handler that crashes or calls os.Exit ends the test, a handler that
// never returns is left behind rather than killed, there are no HungTimeout, SetupTimeout and MaxMemory, and all workers
// share the package variables: a dialer has one worker, unless Config.Workers says otherwise. A test of such things
// starts real workers; its TestMain calls forkserver.Init.
package pooltest
