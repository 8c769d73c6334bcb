//go:build linux || darwin

package server

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/bullpen-go/bullpen/wire"
)

const unwantedText = "somebody wanted it to be"

// heed retires workers that somebody wants to be retired. Whoever wants that, bullpen top, notes it in a file of the
// scoreboard's and sends SIGCONT, which does no harm to anything else. The kernel sees to it that only this process's user
// can do either. It returns after close.
func (s *supervisor) heed() {
	woken := make(chan os.Signal, 1)
	signal.Notify(woken, syscall.SIGCONT)
	defer signal.Stop(woken)
	for {
		select {
		case <-woken:
			s.board.Wanted(s.retire)
		case <-s.gone:
			return
		}
	}
}

// retire has a worker replaced once its checkout is released. A client in another program can't be asked.
func (s *supervisor) retire(number int) {
	for _, w := range s.all() {
		if w.number != number {
			continue
		}
		w.mu.Lock()
		conn := w.conn
		w.mu.Unlock()
		switch {
		case conn != nil && conn.Retire != nil:
			conn.Retire()
		case conn == nil && s.dropStandby(w):
			w.kill(wire.ExitRetired, unwantedText)
		}
	}
}

// dropStandby takes w from the standbys: from then on nobody gives it a connection. One that isn't ready yet ends once it is.
func (s *supervisor) dropStandby(w *child) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.standby, w)
	if i < 0 {
		w.unwanted = true
		return false
	}
	s.standby = slices.Delete(slices.Clone(s.standby), i, i+1)
	return true
}
