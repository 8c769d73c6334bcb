//go:build linux

package poolhttp_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/bullpen-go/bullpen/pool"
)

// browser is a Chromium without a window, which is told what to do over two pipes.
type browser struct {
	t       *testing.T
	in      *os.File
	out     *bufio.Reader
	id      int
	session string
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium, in which this test looks at the page: apt-get install chromium")
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := os.MkdirTemp("", "bullpen-chromium")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
		"--user-data-dir="+profile, "about:blank")
	c.ExtraFiles = []*os.File{theirIn, theirOut}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		in.Close() // it ends then
		c.Wait()
		out.Close()
		os.RemoveAll(profile)
	})
	late := time.AfterFunc(3*patience, func() { c.Process.Kill() })
	t.Cleanup(func() { late.Stop() })
	var target struct{ TargetID string }
	b.do("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var session struct{ SessionID string }
	b.do("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)
	b.session = session.SessionID
	return b
}

// do calls a method of the browser's.
func (b *browser) do(method string, params map[string]any, result any) {
	b.t.Helper()
	b.id++
	call := map[string]any{"id": b.id, "method": method, "params": params}
	if b.session != "" {
		call["sessionId"] = b.session
	}
	text, err := json.Marshal(call)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		text, err := b.out.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		var reply struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(text[:len(text)-1], &reply); err != nil {
			b.t.Fatal(err)
		}
		switch {
		case reply.ID != b.id: // an event
		case reply.Error != nil:
			b.t.Fatalf("%s: %s", method, reply.Error.Message)
		case result == nil:
			return
		default:
			if err := json.Unmarshal(reply.Result, result); err != nil {
				b.t.Fatal(err)
			}
			return
		}
	}
}

// eval returns the value of an expression on the page, as JSON has it.
func (b *browser) eval(expression string) any {
	b.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	b.do("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, r.ExceptionDetails.Text)
	}
	return r.Result.Value
}

// The page in a browser: it comes up to date by itself, nothing is wider than the window, and dark is dark. BULLPEN_SHOTS
// names a directory for pictures, for whoever wants to look.
func TestPageInBrowser(t *testing.T) {
	t.Parallel()
	s := newSite(t, pool.Config{Name: "images", MaxWorkers: 2})
	defer s.busy(t)()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	other, err := pool.New(s.srv, pool.Config{Name: "a second pool with a long name, whose workers have something to do", MaxWorkers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for i := range 5 { // for more workers than there are
		go func() {
			for ctx.Err() == nil {
				nap.Call(ctx, other, time.Duration(i+1)*time.Millisecond)
			}
		}()
	}
	s.page.Add(other, s.srv)
	b := openBrowser(t)
	b.do("Page.enable", nil, nil)
	b.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.do("Page.navigate", map[string]any{"url": s.web.URL + mount}, nil)
	eventually(t, "the page is there", func() bool { return b.eval(`document.querySelector("footer") !== null`) == true })
	b.eval(`document.querySelector("details").open = true`)
	eventually(t, "it draws the queue", func() bool { return b.eval(`document.querySelectorAll("path.area").length`) == 2.0 })
	if b.eval(`Number(document.documentElement.dataset.live) > 0`) != true || b.eval(`document.querySelector("details").open`) != true {
		t.Error("the page has not renewed itself, or has closed what was open")
	}
	background := map[string]any{}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{390, 1400} {
			b.do("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
			b.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}, nil)
			if over := b.eval(`document.documentElement.scrollWidth - document.documentElement.clientWidth`); over != 0.0 {
				t.Errorf("the page is wider than a window of %d, by %v", width, over)
			}
			background[scheme] = b.eval(`getComputedStyle(document.body).backgroundColor`)
			b.shoot(fmt.Sprintf("%s-%d.png", scheme, width))
		}
	}
	if background["light"] == background["dark"] {
		t.Errorf("light and dark are both %v", background["dark"])
	}
}

// shoot takes a picture of the whole page, if somebody wants one.
func (b *browser) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("BULLPEN_SHOTS")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.do("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), png, 0o666); err != nil {
		b.t.Fatal(err)
	}
}
