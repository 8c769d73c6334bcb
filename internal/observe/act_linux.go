package observe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/internal/process"
	"github.com/bullpen-go/bullpen/internal/scoreboard"
)

// Kill kills a worker, if it still is the one that was seen. Its call fails, and its pool replaces it.
func (s *Server) Kill(w Worker) error {
	roster, err := s.open(scoreboard.Roster, s.Roster, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer roster.Close()
	err = process.KillChild(w.Pid, s.Reading.Server, func() bool { return scoreboard.Still(roster, w.Slot, w.Number) })
	if errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("worker %d has ended already", w.Number)
	}
	return err
}

// Retire has a worker replaced once its checkout is released; no call fails. It returns as soon as the server was told. A
// worker whose client is another program can't be retired: only that client can give it back.
func (s *Server) Retire(w Worker) error {
	if w.Owner == scoreboard.Elsewhere {
		return fmt.Errorf("worker %d can't be retired: its client is another program, and only that can give it back", w.Number)
	}
	roster, err := s.open(scoreboard.Roster, s.Roster, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer roster.Close()
	asks, err := s.open(scoreboard.Asks, s.Reading.Asks, os.O_RDWR)
	if err != nil {
		return err
	}
	defer asks.Close()
	fd, err := unix.PidfdOpen(s.Reading.Server, 0)
	if err != nil {
		return fmt.Errorf("server %d: %w", s.Reading.Server, err)
	}
	defer unix.Close(fd)
	if !scoreboard.Still(roster, w.Slot, w.Number) {
		return fmt.Errorf("worker %d has ended already", w.Number)
	}
	number := binary.NativeEndian.AppendUint64(nil, uint64(w.Number))
	if _, err := asks.WriteAt(number, int64(w.Slot)*int64(len(number))); err != nil {
		return fmt.Errorf("server %d: %w", s.Reading.Server, err)
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGCONT, nil, 0); err != nil {
		return fmt.Errorf("server %d: %w", s.Reading.Server, err)
	}
	return nil
}

// open opens one of the server's files.
func (s *Server) open(kind string, inode uint64, how int) (*os.File, error) {
	files, err := filesOf(s.Reading.Server)
	if err != nil || files[kind][inode] == "" {
		return nil, fmt.Errorf("server %d has ended", s.Reading.Server)
	}
	f, err := os.OpenFile(files[kind][inode], how, 0)
	if err != nil {
		return nil, fmt.Errorf("server %d: %w", s.Reading.Server, err)
	}
	return f, nil
}
