//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The marks around the generated part of the file; what stands outside of them is left alone.
const (
	beginMark = "<!-- begin: written by make bench-peers -->"
	endMark   = "<!-- end: written by make bench-peers -->"
)

// report collects samples and makes a document of them.
type report struct {
	head    []string // lines of a list: where and how
	abouts  []*workload
	order   []string // of the servers
	samples []*sample
	failed  []string // what could not be measured, and why
}

func newReport(ctx context.Context, o *options, list []*server) *report {
	r := &report{}
	var versions []string
	for _, s := range list {
		r.order = append(r.order, s.name)
		if !s.floor {
			versions = append(versions, s.name+" "+s.versionOf(ctx))
		}
	}
	r.head = []string{
		"Date: " + time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		"Servers: " + strings.Join(versions, ", "),
		fmt.Sprintf("Machine: %s, %d cores, Linux %s; %s", processor(), runtime.NumCPU(), kernel(), runtime.Version()),
		fmt.Sprintf("Command: `make bench-peers ROUNDS=%d SECONDS=%v WORKLOADS=%q SERVERS=%q`, seed %d", o.rounds, o.seconds,
			strings.Join(o.workloads, " "), strings.Join(o.servers, " "), o.seed),
	}
	return r
}

// processor is the CPU's name.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // without it the name is not known
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// kernel is the kernel's release.
func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	return unix.ByteSliceToString(u.Release[:])
}

func (r *report) about(w *workload) {
	r.abouts = append(r.abouts, &workload{name: w.name, about: w.about})
}

func (r *report) fail(message string) { r.failed = append(r.failed, message) }

func (r *report) add(x *sample) { r.samples = append(r.samples, x) }

func (x *stretch) rate() float64 { return float64(x.answered) / x.seconds }
func (x *sample) wrong() int     { return x.saturated.wrong + x.light.wrong }
func (x *sample) lost() int      { return x.saturated.lost + x.light.lost }

// of gives the samples of a server with a workload, by their rounds.
func (r *report) of(workload, server string) (list []*sample) {
	for _, x := range r.samples {
		if x.workload == workload && x.server == server {
			list = append(list, x)
		}
	}
	return list
}

// verdict is an error if a server failed, or gave a wrong answer.
func (r *report) verdict() error {
	if len(r.failed) > 0 {
		return fmt.Errorf("%d runs failed; the first: %s", len(r.failed), r.failed[0])
	}
	for _, x := range r.samples {
		for _, part := range []*stretch{&x.saturated, &x.light} {
			if part.wrong > 0 {
				return fmt.Errorf("%s with %s, round %d: %d wrong answers of %d; the first: %s", x.server, x.workload, x.round+1, part.wrong, part.answered, part.firstWrong)
			}
		}
	}
	return nil
}

// column is one of a table: a figure of a sample, or of a sample against another of its round.
type column struct {
	title  string
	format string
	value  func(x *sample) float64
	to     string // the server that it is a ratio to
}

func saturatedColumns() []column {
	rate := func(x *sample) float64 { return x.saturated.rate() }
	cpu := func(x *sample) float64 { return x.saturated.cpu }
	return []column{
		{title: "queries/s", format: "%.0f", value: rate},
		{title: "of C floor", format: "%.2f", value: rate, to: "c-floor"},
		{title: "of Go floor", format: "%.2f", value: rate, to: "go-floor"},
		{title: "CPU µs/query", format: "%.2f", value: cpu},
		{title: "user", format: "%.2f", value: func(x *sample) float64 { return x.saturated.user }},
		{title: "sys", format: "%.2f", value: func(x *sample) float64 { return x.saturated.sys }},
		{title: "× C floor", format: "%.2f", value: cpu, to: "c-floor"},
		{title: "× Go floor", format: "%.2f", value: cpu, to: "go-floor"},
		{title: "× gdnsd", format: "%.2f", value: cpu, to: "gdnsd"},
		{title: "core busy %", format: "%.0f", value: func(x *sample) float64 { return x.saturated.serverBusy }},
	}
}

func lightColumns() []column {
	cpu := func(x *sample) float64 { return x.light.cpu }
	return []column{
		{title: "CPU µs/query", format: "%.2f", value: cpu},
		{title: "× C floor", format: "%.2f", value: cpu, to: "c-floor"},
		{title: "× Go floor", format: "%.2f", value: cpu, to: "go-floor"},
		{title: "× gdnsd", format: "%.2f", value: cpu, to: "gdnsd"},
		{title: "p50 µs", format: "%.0f", value: func(x *sample) float64 { return x.light.p50 }},
		{title: "p99 µs", format: "%.0f", value: func(x *sample) float64 { return x.light.p99 }},
		{title: "up ms", format: "%.0f", value: func(x *sample) float64 { return float64(x.up.Microseconds()) / 1e3 }},
		{title: "PSS MiB", format: "%.1f", value: func(x *sample) float64 { return float64(x.memory) / (1 << 20) }},
	}
}

// text is the generated part.
func (r *report) text() string {
	var b strings.Builder
	b.WriteString(beginMark + "\n\n")
	for _, line := range r.head {
		b.WriteString("- " + line + "\n")
	}
	for _, message := range r.failed {
		first, _, _ := strings.Cut(message, "\n")
		b.WriteString("- Failed: " + first + "\n")
	}
	b.WriteString(`
One server at a time on one core with one worker, the load from another core; rounds are interleaved. A cell is the median over the
rounds and, in parentheses, the least and the most; a ratio is taken within each round. CPU is user and system time of all the server's
processes for each answer. At saturation 192 questions are under way, and where a
server's core is not full the generator or others held it up: CPU is the figure to compare then. Light load is 20,000 questions a second at random times, and
latency counts from when a question was due. "up" is the time from start to the first right answer; PSS is memory after the load.
"spoiled" counts stretches in which others took more than 6 % of a core, after one more try. The floors look nothing up, and their answers
are looked at only for the question in them; every answer of the others was checked, addresses by client included. PowerDNS has its caches on, as its package ships it.
`)
	for _, w := range r.abouts {
		fmt.Fprintf(&b, "\n### %s: %s\n", w.name, w.about)
		r.table(&b, w.name, "At saturation", saturatedColumns(), func(x *sample) *stretch { return &x.saturated })
		r.table(&b, w.name, "At 20,000 queries a second", lightColumns(), func(x *sample) *stretch { return &x.light })
	}
	b.WriteString("\n" + endMark + "\n")
	return b.String()
}

// table writes the figures of all servers with one workload.
func (r *report) table(b *strings.Builder, workload, title string, columns []column, part func(*sample) *stretch) {
	fmt.Fprintf(b, "\n%s:\n\n| server |", title)
	for _, c := range columns {
		b.WriteString(" " + c.title + " |")
	}
	b.WriteString(" wrong | lost | spoiled |\n|---|" + strings.Repeat("--:|", len(columns)+3) + "\n")
	for _, server := range r.order {
		list := r.of(workload, server)
		if len(list) == 0 {
			continue
		}
		fmt.Fprintf(b, "| %s |", server)
		for _, c := range columns {
			b.WriteString(" " + r.cell(list, c) + " |")
		}
		var wrong, lost, spoiled int
		for _, x := range list {
			p := part(x)
			wrong += p.wrong
			lost += p.lost
			if p.spoiled {
				spoiled++
			}
		}
		fmt.Fprintf(b, " %d | %d | %d |\n", wrong, lost, spoiled)
	}
}

// cell is the median and the range of a column's figures.
func (r *report) cell(list []*sample, c column) string {
	var values []float64
	for _, x := range list {
		if c.to == "" {
			values = append(values, c.value(x))
			continue
		}
		for _, y := range r.of(x.workload, c.to) {
			if y.round == x.round && y != x && c.value(y) > 0 {
				values = append(values, c.value(x)/c.value(y))
			}
		}
	}
	if len(values) == 0 {
		return "-"
	}
	slices.Sort(values)
	format := func(v float64) string { return fmt.Sprintf(c.format, v) }
	return fmt.Sprintf("%s (%s–%s)", format(median(values)), format(values[0]), format(values[len(values)-1]))
}

// median of sorted values.
func median(sorted []float64) float64 {
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// write puts the report into the file: in place of the part that an earlier run wrote, or at the end of what is there.
func (r *report) write(file string) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(file, []byte(replacePart(string(old), r.text())), 0o644) //nolint:gosec // a document
}

// replacePart puts part where the marks are, or at the end.
func replacePart(old, part string) string {
	if old == "" {
		old = "# Results\n\n"
	}
	before, rest, found := strings.Cut(old, beginMark)
	if !found {
		return strings.TrimRight(old, "\n") + "\n\n" + part
	}
	_, after, _ := strings.Cut(rest, endMark+"\n")
	return before + part + after
}
