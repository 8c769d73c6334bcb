package forkserver

import (
	"context"
	"fmt"
	"time"

	"github.com/bullpen-go/bullpen/wire"
)

// breaker slows the replacement of servers that die, and gives up on those that do nothing else.
type breaker struct {
	deaths []time.Time // since the last success
}

const (
	healFirst  = 50 * time.Millisecond
	healMax    = 5 * time.Second
	giveUpAt   = 5                // deaths without a success in between,
	giveUpTime = 30 * time.Second // within this time
)

// succeed notes that a server has brought a worker to readiness.
func (b *breaker) succeed() { b.deaths = nil }

// fail notes a death, and returns how long to wait before the next start. It is not ok if there is to be none.
func (b *breaker) fail(now time.Time) (delay time.Duration, ok bool) {
	b.deaths = append(b.deaths, now)
	n := len(b.deaths)
	if n >= giveUpAt && now.Sub(b.deaths[n-giveUpAt]) <= giveUpTime {
		return 0, false
	}
	return min(healFirst<<min(n-1, 10), healMax), true
}

// heal starts a new server in place of one that died of cause.
func (p *Process) heal(cause error) {
	for shortages := 0; ; {
		var delay time.Duration
		if isShortage(cause) {
			shortages++
			delay = min(healFirst<<min(shortages-1, 10), shortageMax)
		} else {
			shortages = 0
			p.mu.Lock()
			var ok bool
			delay, ok = p.breaker.fail(time.Now())
			deaths := len(p.breaker.deaths)
			p.mu.Unlock()
			if !ok {
				p.finish(fmt.Errorf("the server of %q died %d times without a worker getting ready, and is given up: %w", p.svc.Name(), deaths, cause))
				return
			}
		}
		t := time.NewTimer(delay)
		select {
		case <-t.C:
		case <-p.closing:
			t.Stop()
			p.finish(nil)
			return
		}
		in, err := p.launch(context.Background())
		if err == nil {
			p.serveBy(in)
			return
		}
		p.logger.Error("the server could not be started again", "service", p.svc.Name(), "error", err)
		cause = fmt.Errorf("%w: %w", wire.ErrServerGone, err)
	}
}

// Restart starts a new server process, and lets the old one end once its workers have done what they do: they are given
// back by their pools when their checkouts are released, and no call fails. It returns when the old server has ended.
//
// If the new server can't be started the old one stays, and the error says why. When ctx ends before the old server has,
// Restart returns the context's error, and the old server goes on ending in the background. The new server is the
// program that the app is, also if its file was replaced since: the two are one program.
func (p *Process) Restart(ctx context.Context) error {
	select {
	case p.restarting <- struct{}{}: // one at a time
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-p.restarting }()
	p.mu.Lock()
	old, ending := p.cur, p.ending
	p.mu.Unlock()
	if ending || p.Err() != nil {
		return fmt.Errorf("bullpen: restart the server of %q: %w", p.svc.Name(), wire.ErrServerGone)
	}
	if old == nil { // it has died, and a new one is on its way
		_, err := p.instance(ctx)
		return err
	}
	in, err := p.launch(ctx)
	if err != nil {
		return fmt.Errorf("bullpen: restart the server of %q: %w", p.svc.Name(), err)
	}
	p.serveBy(in)
	old.drain()
	select {
	case <-old.dead:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
