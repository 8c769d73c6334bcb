//go:build linux || darwin

package poolhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/forkserver"
	"github.com/bullpen-go/bullpen/internal/leaktest"
	"github.com/bullpen-go/bullpen/pool"
	"github.com/bullpen-go/bullpen/pool/poolhttp"
	"github.com/bullpen-go/bullpen/server"
	"github.com/bullpen-go/bullpen/wire"
)

func TestMain(m *testing.M) {
	forkserver.Init()
	os.Exit(leaktest.Main(m))
}

const patience = 20 * time.Second // for each wait

var (
	pages = server.NewService("pages", server.Hooks{})

	echo = server.Handle(pages, "echo", func(_ context.Context, s string) (string, error) { return s, nil })
	fail = server.Handle(pages, "fail", func(context.Context, string) (string, error) { return "", errors.New("no") })
	nap  = server.Handle(pages, "nap", func(_ context.Context, d time.Duration) (wire.None, error) {
		time.Sleep(d)
		return wire.None{}, nil
	})
	crash = server.Handle(pages, "crash", func(_ context.Context, text string) (wire.None, error) {
		fmt.Fprintln(os.Stderr, text)
		os.Exit(3)
		return wire.None{}, nil
	})
	hold = server.Handle(pages, "<script>alert('hold')</script>", func(ctx context.Context, _ string) (wire.None, error) {
		<-ctx.Done()
		return wire.None{}, ctx.Err()
	})
)

// site is a page, with an app behind it.
type site struct {
	page poolhttp.Handler
	srv  *forkserver.Process
	pool *pool.Pool
	web  *httptest.Server
}

const mount = "/debug/bullpen/"

func newSite(t *testing.T, c pool.Config) *site {
	t.Helper()
	s := &site{}
	var err error
	s.srv, err = forkserver.Start(t.Context(), pages, forkserver.Config{OnEvent: s.page.OnEvent, Limits: server.Limits{Standby: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.srv.Close() })
	if s.pool, err = pool.New(s.srv, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.pool.Close() })
	s.page.Add(s.pool, s.srv)
	mux := http.NewServeMux()
	mux.Handle(mount, &s.page)
	s.web = httptest.NewServer(mux)
	t.Cleanup(func() { s.web.Client().CloseIdleConnections(); s.web.Close() })
	return s
}

// get returns a page.
func (s *site) get(t *testing.T, name string) (int, http.Header, string) {
	t.Helper()
	r, err := s.web.Client().Get(s.web.URL + mount + name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, r.Header, string(b)
}

// report returns status.json.
func (s *site) report(t *testing.T) (r poolhttp.Report) {
	t.Helper()
	code, _, body := s.get(t, "status.json")
	if err := json.Unmarshal([]byte(body), &r); err != nil || code != http.StatusOK {
		t.Fatalf("%d, %v: %s", code, err, body)
	}
	return r
}

// eventually waits for what nobody tells.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// busy has the site show a bit of everything: a call that runs, one that waits, errors, a death with its cause. It returns
// what ends the calls.
func (s *site) busy(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 40 {
		echo.Call(ctx, s.pool, strings.Repeat("x", 100*i))
	}
	for _, d := range []time.Duration{1, 3, 10, 30} {
		nap.Call(ctx, s.pool, d*time.Millisecond)
	}
	co, err := s.pool.Checkout(ctx)
	if err != nil {
		t.Fatal(err)
	}
	fail.Call(ctx, co, "")
	if _, err := crash.Call(ctx, s.pool, "first line\nwhat it <b>said</b> last"); err == nil {
		t.Fatal("it did not crash")
	}
	ends := make(chan struct{}, 2)
	hold.Go(ctx, co, "")
	eventually(t, "it holds", func() bool {
		st, err := s.srv.Status()
		if err != nil {
			return false
		}
		for _, w := range st.Workers {
			if w.State == forkserver.Running {
				return true
			}
		}
		return false
	})
	for range 2 { // one takes the other worker, and one waits
		go func() {
			co, err := s.pool.Checkout(ctx)
			if err == nil {
				<-ctx.Done()
				co.Release()
			}
			ends <- struct{}{}
		}()
	}
	eventually(t, "somebody waits", func() bool { return s.pool.Stat().Waiting == 1 })
	eventually(t, "there is a standby", func() bool {
		st, err := s.srv.Status()
		return err == nil && slices.ContainsFunc(st.Workers, func(w forkserver.WorkerStatus) bool { return w.Standby && w.State == forkserver.Idle })
	})
	eventually(t, "the death is known", func() bool { return len(s.report(t).Deaths) == 1 })
	return func() {
		cancel()
		<-ends
		<-ends
		co.Release()
	}
}

func TestStatusJSON(t *testing.T) {
	t.Parallel()
	s := newSite(t, pool.Config{Name: "images", MaxWorkers: 2})
	defer s.busy(t)()
	r := s.report(t)
	if len(r.Pools) != 1 || len(r.Servers) != 1 || len(r.Unhealthy)+len(r.Unready) != 0 {
		t.Fatalf("%+v", r)
	}
	p := r.Pools[0]
	if p.Name != "images" || p.MaxWorkers != 2 || p.Waiting != 1 || p.Run.Count < 40 || p.Run.P99 < 10*time.Millisecond || p.Ends["died"] != 1 {
		t.Errorf("%+v", p)
	}
	if v := r.Servers[0]; v.Status == nil || v.Service != "pages" || v.Server != s.srv.Pid() || len(v.Workers) < 2 {
		t.Errorf("%+v", v)
	}
	d := r.Deaths[0]
	if d.Service != "pages" || !strings.Contains(d.Cause, "exit code 3") || !strings.HasSuffix(d.Stderr, "last") || d.Server || d.Number == 0 || r.Ended < 1 {
		t.Errorf("%+v", d)
	}
}

func TestPageWithoutJavaScript(t *testing.T) {
	t.Parallel()
	s := newSite(t, pool.Config{Name: "<images>", MaxWorkers: 2})
	defer s.busy(t)()
	var code int
	var header http.Header
	var body string
	eventually(t, "a standby, which the pool may have taken just now", func() bool {
		code, header, body = s.get(t, "")
		return strings.Contains(body, "standby")
	})
	if code != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/html") || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%d %v", code, header)
	}
	for _, want := range []string{"healthy, ready", "Pool &lt;images&gt;", "Workers of pages", `<span class="state running">running</span>`,
		"&lt;script&gt;alert(", "exit code 3", "what it &lt;b&gt;said&lt;/b&gt; last", `<rect class="run"`, "standby", `http-equiv="refresh"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	for _, bad := range []string{"http://", "https://", "<images>", "alert('hold')</script>", "<b>said"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	eventually(t, "there is a second point to draw", func() bool { // at least two seconds later
		_, _, body = s.get(t, "")
		return strings.Contains(body, `<path class="area"`)
	})
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := newSite(t, pool.Config{})
	eventually(t, "it is ready", func() bool { code, _, body := s.get(t, "readyz"); return code == http.StatusOK && body == "ok\n" })
	if code, _, body := s.get(t, "healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("%d %s", code, body)
	}
	if code, _, _ := s.get(t, "other"); code != http.StatusNotFound {
		t.Errorf("another name: %d", code)
	}
	r, err := s.web.Client().Post(s.web.URL+mount, "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", r.StatusCode)
	}
}

// A pool whose server isn't there is not ready, and one whose server was given up isn't healthy either.
func TestUnready(t *testing.T) {
	t.Parallel()
	p, err := pool.New(pool.Unix(t.TempDir()+"/none"), pool.Config{Name: "far"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var page poolhttp.Handler
	page.Add(p, nil)
	get := func(name string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		page.ServeHTTP(w, httptest.NewRequest("GET", mount+name, nil))
		return w
	}
	eventually(t, "the try has failed", func() bool { return strings.Contains(get("readyz").Body.String(), `pool "far" has no workers`) })
	if w := get("readyz"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := get("healthz"); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	page.Add(nil, gone{})
	if w := get("healthz"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "it was given up") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if body := get("").Body.String(); !strings.Contains(body, "unhealthy") || !strings.Contains(body, "there is no status") {
		t.Error(body)
	}
}

// gone is a server that was given up.
type gone struct{}

func (gone) Status() (*forkserver.Status, error) { return nil, errors.New("there is no status") }
func (gone) Err() error                          { return errors.New("it was given up") }

// Retired workers are counted, and not listed; of the others the last 50 are.
func TestDeathsAreBounded(t *testing.T) {
	t.Parallel()
	var page poolhttp.Handler
	for i := range 70 {
		page.OnEvent(server.Event{Type: server.WorkerEnded, Pid: i, Exit: &wire.Exit{Code: 1, StderrTail: []byte(strings.Repeat("é", 5000))}})
		page.OnEvent(server.Event{Type: server.WorkerEnded, Pid: i, Exit: &wire.Exit{Reason: wire.ExitRetired}})
		page.OnEvent(server.Event{Type: server.WorkerReady, Pid: i})
	}
	page.OnEvent(server.Event{Type: server.ServerEnded, Pid: 1000, Err: "killed"})
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest("GET", "/status.json", nil))
	var r poolhttp.Report
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Ended != 141 || len(r.Deaths) != 50 || !r.Deaths[0].Server || r.Deaths[1].Pid != 69 || len(r.Deaths[1].Stderr) > 1024 {
		t.Errorf("%d, %d, %+v", r.Ended, len(r.Deaths), r.Deaths[0])
	}
}
