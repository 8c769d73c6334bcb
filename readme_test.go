//go:build linux || darwin

package bullpen_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/server"
)

// These tests run every program and command in the documents, and check what else in them can be checked.

func TestMain(m *testing.M) {
	forkserver.Init()
	os.Exit(m.Run())
}

var documents = []string{"README.md", "CONTRIBUTING.md", "GUIDE.md", "DEBUGGING.md"}

// block is a fenced block of a document. Its info string says what becomes of it:
//
//	sh         its commands are run
//	go         a program is run, a test file is vetted, and a fragment is vetted among the first program's declarations
//	go server  a program that runs until the next one has ended
//	go client  a program that needs the one before
//	go cgo     a program that needs a C compiler
//	go library a package that the next program imports
//	go helper  a program that stands beside the next one, as "helper"
//	ini systemd, dockerfile  are checked for what can be wrong in them
//	console    a session that was run by hand; the document says with what
//	text       what the block before prints
type block struct {
	file string
	line int
	info string
	text string
	want string // what it prints, or ""
}

func (b *block) name() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

// blocks returns the blocks of a document.
func blocks(t *testing.T, file string) []*block {
	t.Helper()
	var all []*block
	var open *block
	for i, line := range strings.SplitAfter(read(t, file), "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = &block{file: file, line: i + 1, info: strings.TrimSpace(info)}
		case fence && open.info == "text":
			if len(all) == 0 {
				t.Fatalf("%s: what prints this?", open.name())
			}
			all[len(all)-1].want = open.text
			open = nil
		case fence:
			all = append(all, open)
			open = nil
		case open != nil:
			open.text += line
		}
	}
	if open != nil {
		t.Fatalf("%s: the block does not end", open.name())
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestDocuments(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds programs")
	}
	declarations := ""
	for _, file := range documents {
		var server, beside *block
		for _, b := range blocks(t, file) {
			program := strings.HasPrefix(b.text, "package main\n")
			if program && declarations == "" {
				declarations = b.text
			}
			first, with := server, beside
			server, beside = nil, nil
			switch {
			case b.info == "console":
			case b.info == "ini systemd":
				t.Run(b.name(), func(t *testing.T) { checkUnit(t, b) })
			case b.info == "dockerfile":
				t.Run(b.name(), func(t *testing.T) { checkDockerfile(t, b) })
			case b.info == "go library" || b.info == "go helper":
				beside = b
			case b.info == "go cgo" && program:
				t.Run(b.name(), func(t *testing.T) { needCgo(t); runPrograms(t, nil, b, nil) })
			case b.info == "sh":
				t.Run(b.name(), func(t *testing.T) { runCommands(t, b) })
			case b.info == "go server" && program:
				server = b
			case b.info == "go client" && program && first != nil:
				t.Run(b.name(), func(t *testing.T) { runPrograms(t, first, b, nil) })
			case b.info == "go" && program:
				t.Run(b.name(), func(t *testing.T) { runPrograms(t, nil, b, with) })
			case b.info == "go":
				t.Run(b.name(), func(t *testing.T) { vetFragment(t, declarations, b) })
			default:
				t.Errorf("%s: nobody knows what to do with a block %q here", b.name(), b.info)
			}
		}
	}
}

// module makes a module that uses this one as it is here, with the versions of its dependencies, and returns its
// directory. What it needs is in the module cache: this test needs it too.
func module(t *testing.T) string {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	const path = "github.com/bullpen-go/bullpen"
	mod := strings.Replace(read(t, "go.mod"), "module "+path, "module example.com/program", 1)
	mod += fmt.Sprintf("\nrequire %s v0.0.0\n\nreplace %s => %s\n", path, path, here)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), mod)
	write(t, filepath.Join(dir, "go.sum"), read(t, "go.sum"))
	return dir
}

// patience bounds everything that these tests start.
const patience = 5 * time.Minute

// run runs a program in a directory and returns what it prints on stdout.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := command(ctx, dir, name, args...)
	var out, errors bytes.Buffer
	c.Stdout, c.Stderr = &out, &errors
	if err := c.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", c, err, &out, &errors)
	}
	return out.String()
}

// command makes a command. Outside of this directory, where a module of the test's is, nothing is downloaded.
func command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	if dir != "." {
		c.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=mod", "GOPROXY=off", "GOWORK=off")
	}
	return c
}

// build builds a program of the documents, with what stands beside it if that isn't nil, and returns the binary's path.
func build(t *testing.T, b, beside *block) string {
	t.Helper()
	dir := module(t)
	write(t, filepath.Join(dir, "main.go"), b.text)
	if beside != nil {
		name := "helper"
		if beside.info == "go library" {
			name = regexp.MustCompile(`(?m)^package (\w+)$`).FindStringSubmatch(beside.text)[1]
		}
		sub := filepath.Join(dir, name)
		if name == "helper" {
			sub = filepath.Join(dir, "cmd")
		}
		if err := os.Mkdir(sub, 0o777); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(sub, name+".go"), beside.text)
		if name == "helper" {
			run(t, dir, "go", "build", "-o", name, "./cmd")
		}
	}
	run(t, dir, "go", "build", "-o", "program", ".")
	return filepath.Join(dir, "program")
}

// runPrograms runs the program b, while the program server runs if there is one.
func runPrograms(t *testing.T, server, b, beside *block) {
	t.Parallel()
	dir := t.TempDir()
	if server != nil {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		s := command(ctx, dir, build(t, server, nil))
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			s.Process.Signal(os.Interrupt)
			if err := s.Wait(); err != nil {
				t.Errorf("%s ended with: %v", server.name(), err)
			}
		}()
	}
	if got := run(t, dir, build(t, b, beside)); got != b.want {
		t.Errorf("%s prints %q, the document says %q", b.name(), got, b.want)
	}
}

// vetFragment has the compiler and go vet look at a test file, or at a part of a program.
func vetFragment(t *testing.T, declarations string, b *block) {
	t.Parallel()
	dir := module(t)
	if strings.HasPrefix(b.text, "package ") {
		write(t, filepath.Join(dir, "main_test.go"), b.text)
		run(t, dir, "go", "vet", ".")
		return
	}
	text := b.text
	if !regexp.MustCompile(`^(var|func|type|//) `).MatchString(text) || strings.Contains(text, " := ") {
		text = "func _(ctx context.Context, workers *pool.Pool) {\n{\n" + text + "}\n}\n"
	}
	imports := ""
	for _, path := range []string{"context", "crypto/tls", "errors", "log", "log/slog", "net/http", "os", "os/signal", "syscall", "time",
		"github.com/hashicorp/go-hclog", "golang.org/x/sys/unix", "github.com/bullpen-go/bullpen/forkserver",
		"github.com/bullpen-go/bullpen/pool", "github.com/bullpen-go/bullpen/pool/poolhttp", "github.com/bullpen-go/bullpen/pool/poolslog",
		"github.com/bullpen-go/bullpen/pool/pooltest", "github.com/bullpen-go/bullpen/server", "github.com/bullpen-go/bullpen/wire"} {
		name := strings.TrimPrefix(path[strings.LastIndex(path, "/")+1:], "go-")
		if regexp.MustCompile(`\b` + name + `\.`).MatchString(text) {
			imports += fmt.Sprintf("import %s %q\n", name, path)
		}
	}
	write(t, filepath.Join(dir, "main.go"), declarations)
	write(t, filepath.Join(dir, "fragment.go"), "package main\n\n"+imports+"\n"+text)
	run(t, dir, "go", "vet", ".")
}

// runCommands runs a block's commands, but for those that run this test: they are .ci/run's.
func runCommands(t *testing.T, b *block) {
	t.Parallel()
	ci := read(t, ".ci/run")
	got := ""
	for line := range strings.Lines(b.text) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		step, isStep := strings.CutPrefix(line, "bash .ci/run")
		switch {
		case line == "":
		case isStep:
			for _, name := range strings.Fields(step) {
				if !strings.Contains(ci, "\n"+name+"() {") {
					t.Errorf("%s: .ci/run has no step %q", b.name(), name)
				}
			}
		case strings.HasPrefix(line, "go test "):
			if !strings.Contains(ci, "  "+line+"\n") {
				t.Errorf("%s: .ci/run does not run %q", b.name(), line)
			}
		default:
			got += run(t, ".", "sh", "-c", line)
		}
	}
	if b.want != "" && blur(got) != blur(b.want) {
		t.Errorf("%s prints\n%s\nthe document says\n%s", b.name(), got, b.want)
	}
}

// blur takes out what differs from run to run: numbers and hashes.
func blur(s string) string {
	s = regexp.MustCompile(`\$2a\$10\$.{53}`).ReplaceAllString(s, "HASH")
	return regexp.MustCompile(`\d+`).ReplaceAllString(s, "N")
}

// The tables of the README have every field of the configurations, in order.
func TestReadmeHasAllFields(t *testing.T) {
	readme := read(t, "README.md")
	for title, config := range map[string]any{
		"`pool.Config`":         pool.Config{},
		"`pool.CheckoutConfig`": pool.CheckoutConfig{},
		"`forkserver.Config`":   forkserver.Config{},
		"`server.Limits`":       server.Limits{},
		"`server.Hooks`":        server.Hooks{},
		"`server.Command`":      server.Command{},
	} {
		_, after, found := strings.Cut(readme, "\n"+title)
		_, table, found2 := strings.Cut(after, "|---|")
		table, _, _ = strings.Cut(table, "\n\n")
		if !found || !found2 {
			t.Errorf("the README has no table for %s", title)
			continue
		}
		var got, want []string
		for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(table, -1) {
			got = append(got, m[1])
		}
		for _, f := range reflect.VisibleFields(reflect.TypeOf(config)) {
			if f.IsExported() {
				want = append(want, f.Name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("the README's table for %s has\n%v\nthe type has\n%v", title, got, want)
		}
	}
}

// What the documents point to is there: tests and files.
func TestDocumentsPointToWhatExists(t *testing.T) {
	var tests strings.Builder
	for _, pattern := range []string{"*_test.go", "*/*_test.go", "*/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			tests.WriteString(read(t, f))
		}
	}
	for _, file := range append(documents, "CHANGELOG.md") {
		text := read(t, file)
		for _, name := range regexp.MustCompile("`((?:Test|Fuzz|Benchmark)\\w+)`").FindAllStringSubmatch(text, -1) {
			if !strings.Contains(tests.String(), "\nfunc "+name[1]+"(") {
				t.Errorf("%s names the test %s, which does not exist", file, name[1])
			}
		}
		text = regexp.MustCompile("(?s)```.*?\n```\n").ReplaceAllString(text, "")
		for _, link := range regexp.MustCompile(`\]\(([^):#]+)\)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(link[1]); err != nil {
				t.Errorf("%s links to %v", file, err)
			}
		}
	}
}

// allowed are the modules that a program may link because it imports pool and forkserver.
var allowed = []string{
	"github.com/bullpen-go/bullpen",
	"github.com/fatih/color",
	"github.com/fxamacker/cbor/v2",
	"github.com/hashicorp/go-hclog",
	"github.com/mattn/go-colorable",
	"github.com/mattn/go-isatty",
	"github.com/x448/float16",
	"golang.org/x/sys",
}

func TestLinkedModules(t *testing.T) {
	const format = "{{.ImportPath}} {{with .Module}}{{.Path}}{{end}}"
	for line := range strings.Lines(run(t, ".", "go", "list", "-deps", "-f", format, "./pool", "./forkserver")) {
		path, module, _ := strings.Cut(strings.TrimSpace(line), " ")
		if module != "" && !slices.Contains(allowed, module) {
			t.Errorf("the library links %s of module %s", path, module)
		}
		if path == "net/http" || path == "flag" {
			t.Errorf("the library links %s", path)
		}
	}
}

// What only the command needs is linked by the command alone, and net/http by nothing that nobody has asked for.
func TestLinkedByTheCommandAlone(t *testing.T) {
	const format = `{{$p := .ImportPath}}{{range .Deps}}{{$p}} {{.}}
{{end}}`
	for line := range strings.Lines(run(t, ".", "go", "list", "-f", format, "./...")) {
		path, links, _ := strings.Cut(strings.TrimSpace(line), " ")
		path = strings.TrimPrefix(path, "github.com/bullpen-go/bullpen")
		module := strings.Join(strings.SplitN(links, "/", 4)[:min(3, strings.Count(links, "/")+1)], "/")
		command := strings.HasPrefix(path, "/cmd/")
		switch {
		case command:
		case links == "net/http" && path != "/pool/poolhttp":
			t.Errorf("%s links net/http", path)
		case slices.Contains([]string{"github.com/gdamore/tcell", "github.com/rivo/uniseg", "github.com/spf13/cobra"}, module):
			t.Errorf("%s links %s, which is the command's alone", path, links)
		}
	}
}

func TestReadmeNamesAllDependencies(t *testing.T) {
	readme := read(t, "README.md")
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v`).FindAllStringSubmatch(read(t, "go.mod"), -1) {
		if !strings.Contains(readme, "`"+m[1]+"`") {
			t.Errorf("the README does not say what %s is needed for", m[1])
		}
	}
}
