package poolhttp

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

//go:embed page.js
var scriptText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"short": short, "bytes": size, "script": func() template.JS { return template.JS(scriptText) },
	"queuePlot": queuePlot, "latencyPlot": latencyPlot, "histogramPlot": histogramPlot,
}).Parse(pageText))

// policy allows what is in the page, and nothing else.
var policy = func() string {
	sum := sha256.Sum256([]byte(scriptText))
	return fmt.Sprintf("default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; "+
		"form-action 'none'; frame-ancestors 'none'; script-src 'sha256-%s'", base64.StdEncoding.EncodeToString(sum[:]))
}()

// page writes the page.
func (h *Handler) page(w http.ResponseWriter) {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, h.look()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.Write(b.Bytes())
}

// short shows a duration in few characters.
func short(d time.Duration) string {
	switch {
	case d <= 0:
		return "0"
	case d < time.Millisecond:
		return fmt.Sprintf("%.3gµs", float64(d)/float64(time.Microsecond))
	case d < time.Second:
		return fmt.Sprintf("%.3gms", float64(d)/float64(time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%.3gs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// size shows a number of bytes.
func size(v any) string {
	var f float64
	switch n := v.(type) {
	case int64:
		f = float64(n)
	case uint64:
		f = float64(n)
	}
	unit := 0
	for f >= 999.5 && unit < 5 {
		f /= 1024
		unit++
	}
	return strings.TrimSpace(fmt.Sprintf("%.3g %s", f, []string{"", "K", "M", "G", "T", "P"}[unit]))
}
