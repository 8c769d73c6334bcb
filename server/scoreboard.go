//go:build linux || darwin

package server

import "os"

// Scoreboard returns the files that package internal/scoreboard reads: the roster of the workers, and their slots. It is for
// forkserver. Both are nil before Start and after it has failed.
func (s *Server) Scoreboard() (roster, slots *os.File) {
	if s.sup == nil {
		return nil, nil
	}
	return s.sup.board.Roster(), s.sup.board.File()
}
