//go:build linux || darwin

package pool_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

// Our pool uses a server in Perl, which knows of us what PROTOCOL.md says.
func TestPoolOnAPerlServer(t *testing.T) {
	t.Parallel()
	usesPerl(t, startForeign(t, "perl", filepath.Join("..", "testdata", "perl", "server.pl")))
}

// And the real one of AnyEvent::Task. BULLPEN_ANYEVENT_TASK names the directory of its sources, which has lib.
func TestPoolOnAnyEventTasksServer(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("BULLPEN_ANYEVENT_TASK")
	if dir == "" {
		t.Skip("BULLPEN_ANYEVENT_TASK does not name the sources of Perl's AnyEvent::Task")
	}
	usesPerl(t, startForeign(t, "perl", "-I"+filepath.Join(dir, "lib"), filepath.Join("..", "testdata", "perl", "anyevent.pl")))
}

var (
	perlPid      = wire.NewMethod0[int]("pid")
	perlCounter  = wire.NewMethod0[int]("counter")
	perlReleased = wire.NewMethod0[int]("released")
	perlFail     = wire.NewMethod[string, wire.None]("fail")
	perlSleep    = wire.NewMethod[float64, int]("sleep")
	perlExit     = wire.NewMethod0[wire.None]("exit")
	perlLogs     = wire.NewMethod[int, int]("logs")
	perlBig      = wire.NewMethod[int, string]("big")
	perlCode     = wire.NewMethod0[any]("code")
)

func usesPerl(t *testing.T, s foreign) {
	perl := func(t *testing.T, c pool.Config) *pool.Pool {
		c.Wire = wire.JSON
		if c.MaxWorkers == 0 {
			c.MaxWorkers = 1
		}
		return newPool(t, pool.Unix(s.path), c)
	}
	for name, test := range map[string]func(*testing.T, func(*testing.T, pool.Config) *pool.Pool){
		"arguments": perlArguments, "errors": perlErrors, "releases": perlReleases, "logs": perlLogRecords,
		"death and timeouts": perlDeaths, "workers in advance": perlInAdvance,
	} {
		t.Run(name, func(t *testing.T) { test(t, perl) })
	}
	t.Run("setup", func(t *testing.T) {
		write(t, s.setupFails, "")
		p := perl(t, pool.Config{})
		co := checkout(t, p)
		for range 2 {
			_, err := perlPid.Call(limited(t), co)
			if e := as[*wire.SetupError](t, err); e.Message != "the table is missing\n" {
				t.Errorf("%+v", e)
			}
		}
		os.Remove(s.setupFails)
		must[int](t)(perlPid.Call(limited(t), co))
	})
}

func perlArguments(t *testing.T, perl func(*testing.T, pool.Config) *pool.Pool) {
	p := perl(t, pool.Config{})
	for _, text := range []string{`[7]`, `[[1,2],"x"]`, `[{"a":null},1.5]`, `[null]`, `[true,false]`, `[]`, `["λ 𝇚 \"q\" \\ \n",-7,1e300]`, `[9007199254740993]`} {
		var args []any
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&args); err != nil {
			t.Fatal(err)
		}
		for _, method := range []string{"", "some_method"} {
			want := text
			if method != "" {
				want = strings.Replace(text, "[", `["some_method",`, 1)
				want = strings.Replace(want, ",]", "]", 1)
			}
			if method == "" && strings.HasPrefix(text, `["`) { // its first argument is a method for the other side
				continue
			}
			var got json.RawMessage
			if err := p.Do(limited(t), &wire.Call{Method: method, Args: args, Reply: &got}); err != nil {
				t.Fatal(err)
			}
			var a, b any
			json.Unmarshal(got, &a)
			json.Unmarshal([]byte(want), &b)
			if !reflect.DeepEqual(a, b) || strings.Contains(want, "9007199254740993") && !strings.Contains(string(got), "9007199254740993") {
				t.Errorf("%s instead of %s", got, want)
			}
		}
	}
	equal(t, "a large result", len(must[string](t)(perlBig.Call(limited(t), p, 150_000))), 150_000)
	big := strings.Repeat("λ", 200_000)
	var got []string
	if err := p.Call(limited(t), &got, "some_method", big); err != nil || len(got) != 2 || got[1] != big {
		t.Errorf("a large argument: %d, %v", len(got), err)
	}
}

func perlErrors(t *testing.T, perl func(*testing.T, pool.Config) *pool.Pool) {
	for _, reuse := range []bool{false, true} {
		p := perl(t, pool.Config{ReuseAfterError: reuse})
		co := checkout(t, p)
		worker := must[int](t)(perlPid.Call(limited(t), co))
		_, err := perlFail.Call(limited(t), co, "ünïcode")
		equal(t, "the message", as[*wire.RemoteError](t, err).Message, "ouch: ünïcode\n")
		_, err = perlCode.Call(limited(t), co)
		if re := as[*wire.RemoteError](t, err); !strings.Contains(re.Message, "error JSON encoding") {
			t.Errorf("%+v", re)
		}
		equal(t, "the checkout's worker", must[int](t)(perlPid.Call(limited(t), co)), worker)
		co.Release()
		equal(t, "the next checkout has the same worker", must[int](t)(perlPid.Call(limited(t), p)) == worker, reuse)
	}
}

func perlReleases(t *testing.T, perl func(*testing.T, pool.Config) *pool.Pool) {
	p := perl(t, pool.Config{MaxCheckouts: 3})
	for range 2 {
		for released := range 3 {
			co := checkout(t, p)
			equal(t, "releases so far", must[int](t)(perlReleased.Call(limited(t), co)), released)
			equal(t, "calls so far", must[int](t)(perlCounter.Call(limited(t), co)), 101+released)
			co.Release()
		}
	}
	equal(t, "workers", p.Stat().Connects, 2)
}

func perlLogRecords(t *testing.T, perl func(*testing.T, pool.Config) *pool.Pool) {
	logs := newRecords()
	p := perl(t, pool.Config{Logger: logs})
	begin := time.Now()
	must[int](t)(perlLogs.Call(limited(t), p, 0))
	_, err := perlLogs.Call(limited(t), p, 1)
	as[*wire.RemoteError](t, err)
	all := logs.get()
	if len(all) != 8 {
		t.Fatalf("%v", all)
	}
	for i := range 2 {
		r := all[4*i : 4*i+4]
		for k, want := range []record{{level: hclog.Info, text: "hello from worker"}, {level: hclog.Warn, text: "careful"},
			{level: hclog.Error, text: "several"}, {level: hclog.Debug, text: "timer"}} {
			if r[k].level != want.level || r[k].text != want.text {
				t.Errorf("record %d: %v instead of %v", k, r[k], want)
			}
		}
		at, _ := r[0].args["timestamp"].(time.Time)
		if at.Before(begin.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
			t.Errorf("it was logged at %v", at)
		}
		if r[0].args["k"] != "v" || fmt.Sprint(r[2].args["data"]) != "[1 [2]]" || r[3].args["name"] != "junk" {
			t.Errorf("%v", r)
		}
		if took, ok := r[3].args["took"].(time.Duration); !ok || took < 0 {
			t.Errorf("the timer: %v", r[3].args)
		}
	}
}

func perlDeaths(t *testing.T, perl func(*testing.T, pool.Config) *pool.Pool) {
	p := perl(t, pool.Config{})
	for range 2 {
		_, err := perlExit.Call(limited(t), p)
		if died := as[*pool.WorkerDiedError](t, err); died.Exit.Reason != wire.ExitUnknown {
			t.Errorf("%+v", died.Exit)
		}
		_, err = perlSleep.Call(limited(t), p.With(pool.CheckoutConfig{Timeout: 50 * time.Millisecond}), 1000)
		as[*pool.TimeoutError](t, err)
		must[int](t)(perlPid.Call(limited(t), p))
	}
	co := checkout(t, p)
	running := perlSleep.Go(limited(t), co, 1000)
	co.Abort(nil)
	_, err := running.Wait()
	is(t, err, pool.ErrAborted)
	must[int](t)(perlPid.Call(limited(t), p))
}

func perlInAdvance(t *testing.T, perl func(*testing.T, pool.Config) *pool.Pool) {
	p := perl(t, pool.Config{MinWorkers: 2, MaxWorkers: 4})
	until(t, "workers are connected in advance", func() bool { return p.Stat().Idle == 2 })
	seen := map[int]bool{}
	for range 4 {
		seen[must[int](t)(perlPid.Call(limited(t), checkout(t, p)))] = true
	}
	equal(t, "workers", len(seen), 4)
}
