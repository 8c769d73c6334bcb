//go:build linux || darwin

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// echoWorker is a command that serves as a worker everywhere.
var echoWorker = []string{"sh", filepath.Join("..", "..", "testdata", "workers", "worker.sh")}

// outcome is what a finished run of the command has left.
type outcome struct {
	out, err string
	code     int
}

// runs runs the command to its end.
func runs(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, binary, args...)
	var out, errs bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &out, &errs
	if err := c.Run(); c.ProcessState == nil {
		t.Fatal(err)
	}
	return outcome{out.String(), errs.String(), c.ProcessState.ExitCode()}
}

// prints fails the test unless the command ended well and printed want.
func (o outcome) prints(t *testing.T, want string) {
	t.Helper()
	if o.code != 0 || o.out != want {
		t.Errorf("exit status %d, %q, %q instead of %q", o.code, o.out, o.err, want)
	}
}

// fails fails the test unless the command failed, with such an error and without a result.
func (o outcome) fails(t *testing.T, with string) {
	t.Helper()
	if o.code != 1 || o.out != "" || !strings.Contains(o.err, with) {
		t.Errorf("exit status %d, %q, %q instead of %q", o.code, o.out, o.err, with)
	}
}

// serving runs serve, and returns its address once it listens.
func serving(t *testing.T, args ...string) (*window, string) {
	t.Helper()
	w := open(t, append([]string{"serve"}, args...)...)
	w.wait("listens on ")
	text, _ := w.text()
	return w, regexp.MustCompile(`listens on (\S+);`).FindStringSubmatch(text)[1]
}

func TestServeAndCall(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "bp")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	args := append([]string{"--listen", filepath.Join(dir, "s"), "--listen", "127.0.0.1:0", "--standby", "1", "--announces", "--"}, echoWorker...)
	w, address := serving(t, args...)
	for _, wire := range []string{"binary", "json"} {
		call := func(stdin string, args ...string) outcome {
			return runs(t, stdin, append([]string{"call", "--connect", address, "--wire", wire}, args...)...)
		}
		call("", "echo", `{"a":[1,"<λ>",null]}`).prints(t, `{"a":[1,"<λ>",null]}`+"\n")
		call("", "echo", `9007199254740993`).prints(t, "9007199254740993\n")
		call(` "from stdin" `, "echo", "-").prints(t, `"from stdin"`+"\n")
		call("", "fail", `"it is no good"`).fails(t, "Error: it is no good")
		call("", "nothing").fails(t, "there is no such method")
		call("", "echo", "hello").fails(t, `write '"hello"'`)
		call("{", "echo", "-").fails(t, "standard input is not JSON")
	}
	w.interrupt()
	w.ends(0)
}

func TestServeKillsHungWorkers(t *testing.T) {
	t.Parallel()
	w, address := serving(t, "--listen", "127.0.0.1:0", "--hung-timeout", "300ms", "--", "sh", "-c", "echo started >&2; read x; exec sleep 1000")
	runs(t, "", "call", "--connect", address, "x").fails(t, "hung")
	w.wait("started") // what the command says goes to serve's own standard error
	runs(t, "", "call", "--connect", address, "--timeout", "200ms", "x").fails(t, "timed out")
	w.interrupt()
	w.ends(0)
}

// Nothing outlives serve, however it ends: not the commands, and not what they have started.
func TestServeIsKilled(t *testing.T) {
	t.Parallel()
	w, address := serving(t, "--listen", "127.0.0.1:0", "--standby", "1", "--announces", "--",
		"sh", "-c", `sleep 1000 & echo '["up",{}]'; while read x; do echo '["ok",{},"held"]'; done`)
	runs(t, "", "call", "--connect", address, "x").prints(t, "\"held\"\n")
	w.Process.Kill()
	<-w.end
	w.leavesNothing()
}

func TestCallRunsACommand(t *testing.T) {
	t.Parallel()
	runs(t, "", append([]string{"call", "--announces", "echo", `[1,2]`, "--"}, echoWorker...)...).prints(t, "[1,2]\n")
	runs(t, `1 2 3`, "call", "sum", "-", "--", "sh", "-c", `read line; case $line in '["do",{},"sum",1,2,3]') echo '["ok",{},6]';; esac`).prints(t, "6\n")
	o := runs(t, "", "call", "x", "--", "sh", "-c", "read x; echo oh no >&2; exit 3")
	o.fails(t, "exit code 3 (stderr: oh no)")
	if !strings.HasPrefix(o.err, "oh no\n") {
		t.Errorf("the command's standard error: %q", o.err)
	}
	runs(t, "", "call", "x", "--", "no-such-program").fails(t, "no-such-program")
	runs(t, "", "call", "--", "sh").fails(t, "which METHOD?")
	runs(t, "", "call").fails(t, "which METHOD?")
	runs(t, "", "call", "x", "--").fails(t, "which COMMAND?")
	runs(t, "", "call", "--connect", "/x", "x", "--", "sh").fails(t, "exclude each other")
	runs(t, "", "call", "--wire", "x", "x", "--", "sh").fails(t, "binary or json")
}

func TestServeOverTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority := newAuthority(t, dir, "ca")
	authority(t, "server")
	authority(t, "client")
	newAuthority(t, dir, "other")(t, "stranger")
	file := func(name string) string { return filepath.Join(dir, name) }
	with := func(name string) []string {
		return []string{"--cert", file(name + ".pem"), "--key", file(name + ".key"), "--ca", file("ca.pem")}
	}
	args := append(append([]string{"--listen", "0.0.0.0:0"}, with("server")...), "--")
	w, address := serving(t, append(args, echoWorker...)...)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	call := func(flags ...string) outcome {
		args := append([]string{"call", "--connect", "127.0.0.1:" + port, "--timeout", "2s"}, flags...)
		return runs(t, "", append(args, "echo", "1")...)
	}
	call(with("client")...).prints(t, "1\n")
	call(with("stranger")...).fails(t, "no worker became free")
	call().fails(t, "no worker became free")
	call("--cert", file("client.pem")).fails(t, "all of --cert, --key and --ca")
	w.interrupt()
	w.ends(0)
	runs(t, "", append([]string{"serve", "--listen", "0.0.0.0:0", "--"}, echoWorker...)...).fails(t, "TLS client certificates")
}

// newAuthority writes an authority's certificate, and returns what makes others under it: NAME.pem and NAME.key.
func newAuthority(t *testing.T, dir, name string) func(*testing.T, string) {
	t.Helper()
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sign := func(c, by *x509.Certificate, key, own *ecdsa.PrivateKey) []byte {
		c.SerialNumber, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, by, &own.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	key := newKey()
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	write(name+".pem", "CERTIFICATE", sign(ca, ca, key, key))
	return func(t *testing.T, name string) {
		own := newKey()
		der := sign(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}, ca, key, own)
		write(name+".pem", "CERTIFICATE", der)
		private, err := x509.MarshalECPrivateKey(own)
		if err != nil {
			t.Fatal(err)
		}
		write(name+".key", "EC PRIVATE KEY", private)
	}
}

func TestHelpShowsExamples(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"demo", "serve", "call", "bench", "chaos"} {
		o := runs(t, "", name, "--help")
		if _, examples, found := strings.Cut(o.out, "Examples:\n"); o.code != 0 || !found || !strings.HasPrefix(examples, "  ") || !strings.Contains(examples, "bullpen "+name) {
			t.Errorf("%s: exit status %d, %s", name, o.code, o.out)
		}
	}
}

func TestShellCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if o := runs(t, "", "completion", shell); o.code != 0 || !strings.Contains(o.out, "bullpen") {
			t.Errorf("%s: exit status %d, %.200s", shell, o.code, o.out)
		}
	}
	for want, args := range map[string][]string{"serve": {"s"}, "call": {"ca"}, "--standby": {"serve", "--st"}, "json": {"call", "--wire", ""}} {
		if o := runs(t, "", append([]string{"__complete"}, args...)...); !strings.Contains(o.out, want) {
			t.Errorf("%q is completed to %q", args, o.out)
		}
	}
}
