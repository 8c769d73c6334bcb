//go:build linux

package main

import (
	"bytes"
	enc "encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/wire"
)

// chaosBound is how long after its deadline a call may end.
const chaosBound = 250 * time.Millisecond

// chaosLedger is what came of all calls, and of all faults.
type chaosLedger struct {
	ran    *os.File // what workers have noted
	stalls chaosStalls

	mu     sync.Mutex // guards all below
	ends   []chaosEnd // by nonce
	calls  int64
	faults map[string]int64
	errors map[string]int64
	harmed map[chaosWorkerID]bool // workers that faults were done to
	deaths []chaosDeath           // of workers that nobody is known to have harmed; judged at the end
	found  chaosFound
	heal   time.Duration // the longest time from a server's death to the first call that its successor served
}

// chaosEnd is how a call ended.
type chaosEnd byte

const (
	chaosRuns   chaosEnd = iota
	chaosGood            // with its own result
	chaosUnsent          // with an error that says it never ran
	chaosBad             // with another error
)

// chaosFound counts what must not be.
type chaosFound struct {
	wrong, doubled, late, untyped, collateral, broken int64
	survivors, strays, zombies                        int64
	worst, own                                        time.Duration // after a deadline: all of it, and without stalls
	stalled                                           int64         // late calls that were late because of stalls only
	samples                                           []string
}

// chaosDeath is a worker's death under a call that did no harm.
type chaosDeath struct {
	worker chaosWorkerID
	text   string
}

func newChaosLedger(path string) (*chaosLedger, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return &chaosLedger{ran: f, faults: map[string]int64{}, errors: map[string]int64{}, harmed: map[chaosWorkerID]bool{}}, nil
}

// nonce begins a call.
func (l *chaosLedger) nonce() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = append(l.ends, chaosRuns)
	return uint64(len(l.ends) - 1)
}

// fault counts a fault that was made.
func (l *chaosLedger) fault(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults[name]++
}

// harm notes that something was done to a worker.
func (l *chaosLedger) harm(w chaosWorkerID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.harmed[w] = true
}

// broken notes something else that must not be.
func (l *chaosLedger) broken(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found.broken++
	l.sample(format, args...)
}

// survived notes what is left of a killed app.
func (l *chaosLedger) survived(state string, left map[int]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, what := range left {
		l.found.survivors++
		l.sample("survivor: of an app that was killed in state %q: %s", state, what)
	}
}

// stray notes processes that should not be there.
func (l *chaosLedger) stray(processes, zombies int, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found.strays += int64(max(processes, -processes))
	l.found.zombies += int64(zombies)
	l.sample(format, args...)
}

// healed notes how long a server's death was felt.
func (l *chaosLedger) healed(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heal = max(l.heal, d)
}

// sample keeps an example of something that must not be. The caller holds mu.
func (l *chaosLedger) sample(format string, args ...any) {
	if len(l.found.samples) < 30 {
		l.found.samples = append(l.found.samples, fmt.Sprintf(format, args...))
	}
}

// chaosResult is a call's end, as its caller saw it.
type chaosResult struct {
	order    *chaosOrder
	answer   chaosAnswer
	err      error
	deadline time.Time // zero: none
	end      time.Time
	harmless bool // neither the call, nor another one of its checkout, nor its caller did any harm
	strict   bool // nothing harms anybody
	unknown  bool // nobody may know how a worker died, as its server did too
}

// settle notes a call's end, and judges it.
func (l *chaosLedger) settle(r *chaosResult) {
	belongs := r.err == nil && r.answer.belongs(r.order)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	l.timely("a call", r.err, r.deadline, r.end, r.order)
	if r.err == nil {
		l.ends[r.order.Nonce] = chaosGood
		if !belongs {
			l.found.wrong++
			l.sample("wrong: call %d (%s) was answered with something else: %+v", r.order.Nonce, r.order.Do, r.answer.Worker)
		}
		return
	}
	l.ends[r.order.Nonce] = chaosBad
	if wire.SafeToRetry(r.err) {
		l.ends[r.order.Nonce] = chaosUnsent
	}
	l.failed(r.err, r.order.Do)
	died, isDied := chaosTyped(r.err).(*pool.WorkerDiedError)
	if isDied && !r.harmless {
		l.harmed[chaosWorkerID{died.Pid, died.Exit.Number}] = true
	}
	switch {
	case r.strict, r.harmless && !isDied && !chaosExpected(r.err):
		l.found.collateral++
		l.sample("collateral: nobody harmed call %d (%s), and it ended with: %v", r.order.Nonce, r.order.Do, r.err)
	case r.harmless && isDied && died.Exit.Reason != wire.ExitServerDied && died.Exit.Code != chaosSetupExit &&
		!(r.unknown && died.Exit.Reason == wire.ExitUnknown):
		l.deaths = append(l.deaths, chaosDeath{chaosWorkerID{died.Pid, died.Exit.Number}, r.err.Error()})
	}
}

func (a *chaosAnswer) belongs(o *chaosOrder) bool {
	proof := o.proof()
	return bytes.Equal(a.Proof, proof) && len(a.Pad) == o.Reply && (o.Reply == 0 || a.Pad[o.Reply-1] == proof[0])
}

// chaosExpected reports whether a harmless call may end with err when others do harm: workers may be scarce then.
func chaosExpected(err error) bool {
	switch chaosTyped(err).(type) {
	case *pool.TimeoutError, *wire.SetupError, *pool.SkippedError:
		return true
	}
	return errors.Is(err, pool.ErrQueueFull)
}

// failed counts an error, of a call or a checkout. The caller holds mu.
func (l *chaosLedger) failed(err error, what string) {
	kind, typed := chaosErrorKind(err)
	l.errors[kind]++
	if !typed {
		l.found.untyped++
		l.sample("untyped: %s ended with a %T: %v", what, err, err)
	}
	var remote *wire.RemoteError
	if errors.As(err, &remote) && remote.Code == codeChaosOrder {
		l.found.wrong++
		l.sample("wrong: %v", err)
	}
}

// timely looks whether something ended in time. The caller holds mu.
func (l *chaosLedger) timely(what string, err error, deadline, end time.Time, o *chaosOrder) {
	if deadline.IsZero() {
		return
	}
	late := end.Sub(deadline)
	l.found.worst = max(l.found.worst, late)
	own := late
	if late > chaosBound/2 {
		own -= l.stalls.within(deadline, end)
	}
	l.found.own = max(l.found.own, own)
	switch {
	case own > chaosBound:
		l.found.late++
		l.sample("late: %s (%s) ended %v after its deadline, and this process was stalled for %v of it; it ended with: %v", what, o.Do,
			late.Round(time.Millisecond), (late - own).Round(time.Millisecond), err)
	case late > chaosBound:
		l.found.stalled++
	}
}

// waited notes the end of a wait for a checkout.
func (l *chaosLedger) waited(err error, deadline, end time.Time, strict bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timely("a checkout", err, deadline, end, &chaosOrder{Do: "checkout"})
	if err == nil {
		return
	}
	l.failed(err, "a checkout")
	if strict {
		l.found.collateral++
		l.sample("collateral: a checkout ended with: %v", err)
	}
}

// audit reads what workers have noted: which calls ran, and how often. It may be called once, when all calls have ended.
func (l *chaosLedger) audit() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ran := make([]uint8, len(l.ends))
	buf := make([]byte, 64<<10)
	for at := int64(0); ; {
		n, err := l.ran.ReadAt(buf, at)
		for i := 0; i+8 <= n; i += 8 {
			nonce := enc.LittleEndian.Uint64(buf[i:])
			if nonce >= uint64(len(ran)) {
				return fmt.Errorf("a worker noted call %d, of %d", nonce, len(ran))
			}
			if ran[nonce] < 255 {
				ran[nonce]++
			}
		}
		at += int64(n &^ 7)
		if err != nil || n < 8 {
			break
		}
	}
	for nonce, n := range ran {
		end := l.ends[nonce]
		switch {
		case end == chaosRuns:
			l.found.late++
			l.sample("late: call %d never ended", nonce)
		case n > 1:
			l.found.doubled++
			l.sample("doubled: call %d ran %d times", nonce, n)
		case n == 1 && end == chaosUnsent:
			l.found.doubled++ // by whoever believes it
			l.sample("doubled: call %d ran, and its error says that it may be sent again", nonce)
		case n == 0 && end == chaosGood:
			l.found.wrong++
			l.sample("wrong: call %d never ran, and has a result", nonce)
		}
	}
	l.judgeDeaths()
	return nil
}

// judgeDeaths looks whether all workers that died under harmless calls had been harmed. The caller holds mu.
func (l *chaosLedger) judgeDeaths() {
	for _, d := range l.deaths {
		if !l.harmed[d.worker] {
			l.found.collateral++
			l.sample("collateral: nobody harmed worker %+v: %s", d.worker, d.text)
		}
	}
	l.deaths = nil
}
