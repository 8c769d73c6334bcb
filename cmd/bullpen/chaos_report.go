//go:build linux

package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bullpen-go/bullpen/pool"
)

// chaosReport shows how a run goes, and how it went.
type chaosReport struct {
	config chaosConfig
	ledger *chaosLedger
	begin  time.Time

	before, after chaosCensus

	mu       sync.Mutex // guards all below
	now      string     // the phase
	recycles int64
	looks    int64
	close    time.Duration // the longest Close
	died     time.Duration // the longest time that a process lived after its app
	servers  map[string]*chaosServerCensus
	misery   []string
}

// chaosServerCensus is what a server takes while it has nothing to do.
type chaosServerCensus struct {
	descriptors, most int // at first, and at most
	rss               int64
}

func newChaosReport(c chaosConfig, l *chaosLedger) *chaosReport {
	return &chaosReport{config: c, ledger: l, begin: time.Now(), servers: map[string]*chaosServerCensus{}}
}

// phase notes that a phase begins.
func (p *chaosReport) phase(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = name
}

// closed notes how long a Close took.
func (p *chaosReport) closed(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.close = max(p.close, d)
}

// pool notes how many workers a pool has replaced after their checkouts, and how often it has looked into shared memory.
func (p *chaosReport) pool(s *pool.Stat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recycles += s.Ends["max checkouts"]
	p.looks += s.Looks
}

// outlived notes how long after its app the last process ended.
func (p *chaosReport) outlived(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.died = max(p.died, d)
}

// server looks at a server that has nothing to do.
func (p *chaosReport) server(name string, pid int) {
	p.mu.Lock()
	s := p.servers[name]
	p.mu.Unlock()
	n := chaosDescriptors(pid)
	if s == nil {
		s = &chaosServerCensus{descriptors: n}
	}
	for late := time.Now().Add(5 * time.Second); n > s.descriptors && time.Now().Before(late); n = chaosDescriptors(pid) {
		time.Sleep(20 * time.Millisecond) // it may be about to close some
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.servers[name] = s
	s.most = max(s.most, n)
	s.rss = max(s.rss, chaosRSS(pid))
}

// suffered notes how an exhausted app was.
func (p *chaosReport) suffered(name string, s *chaosSuffered) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.misery = append(p.misery, fmt.Sprintf("%s: %.1f %% CPU, recovered after %v; %d of %d calls failed",
		name, 100*s.CPU, s.Recovery.Round(time.Millisecond), s.Failed, s.Calls))
}

// progress prints a line a second until stop is called, and watches for stalls.
func (p *chaosReport) progress() (stop func()) {
	quit := make(chan struct{})
	var stalls sync.WaitGroup
	stalls.Go(func() { p.ledger.stalls.watch(quit) })
	last := chaosEverySecond(p.config.Out, p.line)
	return func() {
		last()
		close(quit)
		stalls.Wait()
	}
}

// chaosEverySecond prints a line a second until stop is called: on a terminal the same one.
func chaosEverySecond(w io.Writer, line func() string) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	end := "\n"
	if chaosTerminal(w) {
		end = "\x1b[K\r"
	}
	go func() {
		defer close(done)
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				fmt.Fprint(w, line(), end)
			case <-quit:
				fmt.Fprint(w, line(), "\n")
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// chaosTerminal reports whether w is one.
func chaosTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (p *chaosReport) line() string {
	p.mu.Lock()
	now := p.now
	p.mu.Unlock()
	l := p.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	faults, failed := chaosSum(l.faults), chaosSum(l.errors)
	return fmt.Sprintf("%4.0fs  %-12s %8d calls %6d faults %7d errors; wrong %d, late %d (worst %v), untyped %d, other %d",
		time.Since(p.begin).Seconds(), now, l.calls, faults, failed, l.found.wrong, l.found.late,
		l.found.own.Round(time.Millisecond), l.found.untyped, l.found.collateral+l.found.broken+l.found.survivors+l.found.strays)
}

func chaosSum(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

// chaosRow is a line of the table.
type chaosRow struct {
	name  string
	value string
	bad   bool
	note  string
}

const chaosMaxGrowth = 32 << 20 // of the resident memory; what the program notes of its calls is in it

// rows makes the table.
func (p *chaosReport) rows() []chaosRow {
	l, b, a := p.ledger, &p.before, &p.after
	zero := func(name string, n int64, note string) chaosRow { return chaosRow{name, fmt.Sprint(n), n != 0, note} }
	most := func(name string, before, after int) chaosRow {
		return chaosRow{name, fmt.Sprintf("%d → %d", before, after), after > before, "before → after"}
	}
	mib := func(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }
	ms := func(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
	rows := []chaosRow{
		{name: "calls", value: fmt.Sprint(l.calls), note: fmt.Sprintf("%d faults, %d recycles, %d looks into shared memory", chaosSum(l.faults), p.recycles, p.looks)},
		zero("wrong", l.found.wrong, "results that belong to another call, or to none"),
		zero("doubled", l.found.doubled, "calls that ran twice, or ran though their error denies it"),
		zero("late", l.found.late, fmt.Sprintf("worst: %s after a deadline; %s are allowed%s", ms(l.found.own), ms(chaosBound), l.stalledNote())),
		zero("untyped errors", l.found.untyped, ""),
		zero("collateral", l.found.collateral, "calls that failed though nobody had harmed them"),
		zero("broken", l.found.broken, "what else must not be"),
		zero("survivors", l.found.survivors, fmt.Sprintf("of %d killed apps; the last process had gone %s after its app", l.kills(), ms(p.died))),
		zero("strays", l.found.strays+int64(len(a.processes)), "processes while nothing is to do"),
		zero("zombies", l.found.zombies+int64(a.zombies), ""),
		most("descriptors", b.descriptors, a.descriptors),
		most("goroutines", b.goroutines, a.goroutines),
		most("temporary files", len(b.files), len(a.files)),
		{name: "RSS", value: mib(b.rss) + " → " + mib(a.rss), bad: a.rss > b.rss+chaosMaxGrowth+2*int64(len(l.ends)), note: "after the first phase → at the end"},
	}
	for _, name := range slices.Sorted(maps.Keys(p.servers)) {
		s := p.servers[name]
		rows = append(rows, chaosRow{"server " + name, fmt.Sprintf("%d → %d fds", s.descriptors, s.most), s.most > s.descriptors,
			"at first → at most, while it had nothing to do; RSS " + mib(s.rss)})
	}
	return append(rows,
		chaosRow{name: "slowest Close", value: ms(p.close)},
		chaosRow{name: "slowest heal", value: ms(l.heal), note: "from a server's SIGKILL to the end of a call that was then made, behind those who waited already"})
}

// stalledNote tells of the calls that were late because the machine was busy.
func (l *chaosLedger) stalledNote() string {
	if l.found.stalled == 0 {
		return ""
	}
	return fmt.Sprintf(" (by the clock %d were late, %d ms at worst: the machine was busy, and this process stood still for up to %d ms)",
		l.found.stalled, l.found.worst.Milliseconds(), l.stalls.most.Milliseconds())
}

// kills counts the apps that were killed. The caller holds mu, or nobody else uses the ledger any more.
func (l *chaosLedger) kills() (n int64) {
	for name, k := range l.faults {
		if strings.HasPrefix(name, "app: SIGKILL") {
			n += k
		}
	}
	return n
}

// clean reports whether all is 0 that must be.
func (p *chaosReport) clean() bool { return chaosClean(p.rows()) }

func chaosClean(rows []chaosRow) bool {
	return !slices.ContainsFunc(rows, func(r chaosRow) bool { return r.bad })
}

func chaosPrintRows(w io.Writer, rows []chaosRow) {
	for _, r := range rows {
		mark := " "
		if r.bad {
			mark = "✗"
		}
		fmt.Fprintf(w, "%s %-16s %22s  %s\n", mark, r.name, r.value, r.note)
	}
}

// print prints the table, the counts of faults and errors, and examples of what must not be.
func (p *chaosReport) print() {
	w := p.config.Out
	c := p.config
	fmt.Fprintf(w, "\nbullpen chaos --duration %v --workers %d --callers %d --seed %d\n\n", c.Duration, c.Workers, c.Callers, c.Seed)
	chaosPrintRows(w, p.rows())
	chaosPrintCounts(w, "faults", p.ledger.faults)
	chaosPrintCounts(w, "errors that calls and checkouts ended with", p.ledger.errors)
	if len(p.misery) > 0 {
		fmt.Fprintf(w, "\nexhausted apps\n  %s\n", strings.Join(p.misery, "\n  "))
	}
	if samples := p.samples(); len(samples) > 0 {
		fmt.Fprintf(w, "\nwhat must not be, for example\n  %s\n", strings.Join(samples, "\n  "))
	}
}

func (p *chaosReport) samples() []string {
	s := slices.Clone(p.ledger.found.samples)
	for _, x := range p.after.processes {
		s = append(s, "stray: "+x)
	}
	for _, x := range p.after.files {
		s = append(s, "temporary file: "+x)
	}
	return s
}

func chaosPrintCounts(w io.Writer, title string, counts map[string]int64) {
	fmt.Fprintf(w, "\n%s\n", title)
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(w, "  %8d  %s\n", counts[name], name)
	}
}
