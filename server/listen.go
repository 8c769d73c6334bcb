package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Address splits an address as forkserver.Config.Listen has it: "unix:PATH" or anything with a slash is a unix path,
// "tcp:HOST:PORT" or any other HOST:PORT is TCP.
func Address(s string) (network, address string, err error) {
	network, address, found := strings.Cut(s, ":")
	switch {
	case found && (network == "unix" || network == "tcp"):
	case strings.Contains(s, "/"):
		network, address = "unix", s
	default:
		network, address = "tcp", s
	}
	if address == "" {
		return "", "", fmt.Errorf("bullpen: no address in %q: write unix:/PATH or tcp:HOST:PORT", s)
	}
	return network, address, nil
}

// Listen listens where clients of other programs may connect to the service. A unix socket is made with mode 0600, and
// replaces a stale one that nobody answers on; its file is removed when the listener is closed. TCP is allowed on loopback,
// and elsewhere only if Hooks.TLS demands client certificates.
func Listen(s *Service, network, address string) (net.Listener, error) {
	var l net.Listener
	var err error
	switch network {
	case "unix":
		l, err = listenUnix(address)
	case "tcp", "tcp4", "tcp6":
		l, err = listenTCP(s, network, address)
	default:
		err = fmt.Errorf("network %q is neither unix nor tcp", network)
	}
	if err != nil {
		return nil, fmt.Errorf("bullpen: listen on %s %s: %w", network, address, err)
	}
	return l, nil
}

func listenTCP(s *Service, network, address string) (net.Listener, error) {
	addr, err := net.ResolveTCPAddr(network, address)
	if err != nil {
		return nil, err
	}
	config, err := s.tlsConfig()
	if err != nil {
		return nil, err
	}
	if config == nil && !addr.IP.IsLoopback() {
		return nil, errors.New("without TLS client certificates only loopback addresses are allowed, as whoever can " +
			"connect can run every method: set Hooks.TLS")
	}
	return net.ListenTCP(network, addr)
}

// socketPath returns the path of a socket, made absolute: a listener may be closed in another working directory.
func socketPath(path string) (string, error) {
	if strings.HasPrefix(path, "@") {
		return "", errors.New("abstract sockets have no permissions: give a path")
	}
	return filepath.Abs(path)
}

// checkStale returns an error unless path is free, or a socket that nobody answers on.
func checkStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&os.ModeSocket == 0:
		return errors.New("the file exists and is not a socket")
	}
	c, err := net.Dial("unix", path)
	switch {
	case err == nil:
		c.Close()
		return errors.New("another server answers on it")
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		return nil
	}
	return fmt.Errorf("a server may still be there: %w", err) // such as one with a full backlog, or another user's
}

// unixListener removes its socket file on the first Close, unless somebody else has replaced it.
type unixListener struct {
	*net.UnixListener
	path   string
	info   os.FileInfo
	remove sync.Once // later the path may be somebody else's, and even the inode number
}

func newUnixListener(l *net.UnixListener, path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, err
	}
	return &unixListener{UnixListener: l, path: path, info: info}, nil
}

func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func (l *unixListener) Close() error {
	l.remove.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.info) {
			os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}
