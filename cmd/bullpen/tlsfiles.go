package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// tlsFiles names the files of one side of a TLS connection.
type tlsFiles struct{ cert, key, ca string }

func (t *tlsFiles) flags(f *pflag.FlagSet, ca string) {
	f.StringVar(&t.cert, "cert", "", "with TLS: the own certificate (PEM)")
	f.StringVar(&t.key, "key", "", "with TLS: its key (PEM)")
	f.StringVar(&t.ca, "ca", "", "with TLS: "+ca)
}

// envTLS tells the server process of serve what the flags were.
const envTLS = "BULLPEN_SERVE_TLS"

// setting is the environment's setting of the files.
func (t *tlsFiles) setting() string {
	return envTLS + "=" + strings.Join([]string{t.cert, t.key, t.ca}, string(os.PathListSeparator))
}

// tlsFilesOf returns the files of a setting's value.
func tlsFilesOf(value string) (t tlsFiles) {
	if f := strings.Split(value, string(os.PathListSeparator)); len(f) == 3 {
		t.cert, t.key, t.ca = f[0], f[1], f[2]
	}
	return t
}

// given reports whether there is to be TLS.
func (t *tlsFiles) given() bool { return t.cert+t.key+t.ca != "" }

// load reads the files.
func (t *tlsFiles) load() (tls.Certificate, *x509.CertPool, error) {
	if t.cert == "" || t.key == "" || t.ca == "" {
		return tls.Certificate{}, nil, errors.New("TLS needs all of --cert, --key and --ca")
	}
	cert, err := tls.LoadX509KeyPair(t.cert, t.key)
	if err != nil {
		return cert, nil, err
	}
	pem, err := os.ReadFile(t.ca)
	if err != nil {
		return cert, nil, err
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return cert, nil, fmt.Errorf("%s has no certificate", t.ca)
	}
	return cert, authorities, nil
}

// server returns a configuration that demands clients' certificates.
func (t *tlsFiles) server() (*tls.Config, error) {
	cert, clients, err := t.load()
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert}, nil
}

// client returns a configuration, or nil if there is to be no TLS.
func (t *tlsFiles) client() (*tls.Config, error) {
	if !t.given() {
		return nil, nil
	}
	cert, servers, err := t.load()
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: servers}, nil
}
