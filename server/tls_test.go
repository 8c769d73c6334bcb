//go:build linux

package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/internal/proctest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

// identity is a certificate, and the pool of authorities that says so.
type identity struct {
	cert  tls.Certificate
	roots *x509.CertPool
}

// newAuthority makes a certificate authority, and returns a function that makes identities under it.
func newAuthority() func() identity {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return func() identity {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour),
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
		der, err := x509.CreateCertificate(rand.Reader, c, parsed, &own.PublicKey, key)
		if err != nil {
			panic(err)
		}
		return identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: own}, roots}
	}
}

var ours = sync.OnceValue(newAuthority)

var guarded = server.NewService("guarded", server.Hooks{TLS: func() (*tls.Config, error) {
	id := ours()()
	return &tls.Config{Certificates: []tls.Certificate{id.cert}, ClientCAs: id.roots, ClientAuth: tls.RequireAndVerifyClientCert}, nil
}})

var (
	guardedPid  = server.Handle0(guarded, "getpid", func(context.Context) (int, error) { return os.Getpid(), nil })
	guardedEcho = server.Handle(guarded, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	guardedExit = server.Handle(guarded, "exit", func(_ context.Context, code int) (wire.None, error) { os.Exit(code); panic("") })
)

var careless = server.NewService("careless", server.Hooks{TLS: func() (*tls.Config, error) {
	return &tls.Config{Certificates: []tls.Certificate{ours()().cert}}, nil
}})

// serveGuarded serves the guarded service, and returns its address and how many workers were started.
func serveGuarded(t *testing.T) (address string, started func() int) {
	t.Helper()
	l, err := server.Listen(guarded, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	events := proctest.NewFeed[server.Event]()
	s := &server.Server{Service: guarded, OnEvent: events.Add}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, server.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String(), func() (n int) {
		for _, e := range events.List() {
			if e.Type == server.WorkerStarted {
				n++
			}
		}
		return n
	}
}

func client(id identity) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{id.cert}, RootCAs: id.roots}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	address, _ := serveGuarded(t)
	for _, kind := range []wire.Kind{wire.Binary, wire.JSON} {
		p, err := pool.New(pool.TCP(address, client(ours()())), pool.Config{MaxWorkers: 2, Wire: kind})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if pid, err := guardedPid.Call(ctx, p); err != nil || pid == os.Getpid() {
			t.Errorf("%v: %d, %v", kind, pid, err)
		}
		for _, n := range []int{0, 1, 100 << 10, 1 << 20} {
			if b, err := guardedEcho.Call(ctx, p, make([]byte, n)); err != nil || len(b) != n {
				t.Errorf("%v: %d of %d bytes, %v", kind, len(b), n, err)
			}
		}
		var died *pool.WorkerDiedError
		_, err = guardedExit.Call(ctx, p, 7)
		if !errors.As(err, &died) {
			t.Errorf("%v: %v", kind, err)
		} else if kind == wire.Binary && died.Exit.Code != 7 { // the JSON wire doesn't tell whom to ask about
			t.Errorf("%+v", died.Exit)
		}
		if _, err := guardedPid.Call(ctx, p); err != nil {
			t.Errorf("%v, after a worker's death: %v", kind, err)
		}
	}
}

// A client without a certificate of ours costs no process.
func TestTLSStrangers(t *testing.T) {
	t.Parallel()
	address, started := serveGuarded(t)
	stranger := newAuthority()()
	trusting := ours()().roots
	for name, config := range map[string]*tls.Config{
		"no certificate":          {RootCAs: trusting},
		"another one's authority": {RootCAs: trusting, Certificates: []tls.Certificate{stranger.cert}},
	} {
		c, err := tls.Dial("tcp", address, config)
		if err == nil {
			_, err = c.Write([]byte("[\"do\",{},\"getpid\"]\n"))
			if err == nil {
				_, err = c.Read(make([]byte, 100))
			}
			c.Close()
		}
		if err == nil {
			t.Errorf("%s: it got an answer", name)
		}
	}
	plain, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	plain.Write([]byte("[\"do\",{},\"getpid\"]\n"))
	plain.SetReadDeadline(time.Now().Add(patience))
	answer := make([]byte, 100)
	if n, err := plain.Read(answer); err == nil && !strings.HasPrefix(string(answer[:n]), "\x15\x03") { // a TLS alert
		t.Errorf("without TLS it got %q", answer[:n])
	}
	if n := started(); n != 0 {
		t.Errorf("%d workers were started", n)
	}
}

// Off loopback there is no listening without client certificates, nor with a config that doesn't demand them.
func TestTLSMustDemandCertificates(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"0.0.0.0:0", "127.0.0.1:0"} {
		if l, err := server.Listen(careless, "tcp", address); err == nil || !strings.Contains(err.Error(), "RequireAndVerifyClientCert") {
			t.Errorf("%s: %v", address, err)
			if l != nil {
				l.Close()
			}
		}
	}
	l, err := server.Listen(guarded, "tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}
