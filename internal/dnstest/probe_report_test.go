package dnstest_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// reportSlack is how many checks a peer may pass more or less than the table says, before the test asks for a new table: a busy
// machine loses some.
const reportSlack = 25

// report counts what passes.
type report struct {
	subjects []string
	probes   map[string]int // by subject

	mu       sync.Mutex // guards the following
	counts   map[string]map[string]*count
	versions map[string]string
	failed   map[string][]string // by server
}

// count is how many checks passed of those that were made. A check is a probe over one transport.
type count struct{ passed, asked int }

// newReport makes the report on these subjects.
func newReport(subjects [][]*probe) *report {
	r := &report{probes: map[string]int{}, counts: map[string]map[string]*count{}, versions: map[string]string{}, failed: map[string][]string{}}
	for _, s := range subjects {
		r.subjects = append(r.subjects, s[0].subject)
		r.probes[s[0].subject] = len(s)
	}
	return r
}

// add counts one check of a server.
func (r *report) add(name string, p *probe, transport string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts[name] == nil {
		r.counts[name] = map[string]*count{}
	}
	for _, subject := range []string{p.subject, ""} {
		c := r.counts[name][subject]
		if c == nil {
			c = &count{}
			r.counts[name][subject] = c
		}
		c.asked++
		if err == nil {
			c.passed++
		}
	}
	if err != nil {
		r.failed[name] = append(r.failed[name], fmt.Sprintf("%s/%s/%s", p.subject, p.name, transport))
	}
}

// version notes a server's version.
func (r *report) version(name, version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.versions[name] = version
}

// summary is one line about a server.
func (r *report) summary(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counts[name][""]
	return fmt.Sprintf("%s %s: %d of %d checks passed", name, r.versions[name], c.passed, c.asked)
}

// reportHead stands above the table.
const reportHead = `# What the servers make of the probes

Written by "go test ./internal/dnstest -run TestProbes -update". %d probes, most of them over UDP and over TCP; each is a check. A cell is the checks that passed
of those that were made.

The others are held to what the RFCs demand, or should have: silence where there is a code for the error, such as FORMERR for a question that cannot be read, is a
failure. What is only our choice does not count for them, and they are not asked for what they do not claim to have: steering, and of gdnsd DNAME, TSIG, DS, loops, chains of more
than eight, zones within zones and the cookie secret of RFC 9018. Each runs as Debian packages it, with minimal answers, NSID and cookies on.

`

// columns are the servers in the order of the table.
func columns() []string { return []string{"geodns", "NSD", "Knot", "BIND", "gdnsd", "PowerDNS"} }

// table is the whole report in Markdown.
func (r *report) table() string {
	var b strings.Builder
	probes := 0
	for _, n := range r.probes {
		probes += n
	}
	fmt.Fprintf(&b, reportHead, probes)
	b.WriteString("| subject | probes |")
	for _, name := range columns() {
		fmt.Fprintf(&b, " %s |", strings.TrimSpace(name+" "+r.versions[name]))
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(columns())) + "\n")
	for _, subject := range append(slices.Clone(r.subjects), "") {
		title, n := subject, r.probes[subject]
		if subject == "" {
			title, n = "**all**", probes
		}
		fmt.Fprintf(&b, "| %s | %d |", title, n)
		for _, name := range columns() {
			if c := r.counts[name][subject]; c != nil {
				fmt.Fprintf(&b, " %d/%d |", c.passed, c.asked)
			} else {
				b.WriteString(" |")
			}
		}
		b.WriteString("\n")
	}
	for _, name := range columns()[1:] {
		fmt.Fprintf(&b, "\n## %s fails\n\n", name)
		if len(r.failed[name]) == 0 {
			b.WriteString("nothing\n")
		}
		for _, line := range group(r.failed[name]) {
			fmt.Fprintf(&b, "- %s\n", line)
		}
	}
	return b.String()
}

// group joins the checks of a probe over both transports, and writes one line for each subject.
func group(failed []string) []string {
	var lines []string
	bySubject := map[string][]string{}
	var order []string
	for _, f := range failed {
		part := strings.Split(f, "/")
		subject, name, transport := part[0], part[1], part[2]
		if bySubject[subject] == nil {
			order = append(order, subject)
		}
		list := bySubject[subject]
		if n := len(list); n > 0 && list[n-1] == name+" (udp)" {
			list[n-1] = name
		} else {
			list = append(list, name+" ("+transport+")")
		}
		bySubject[subject] = list
	}
	for _, subject := range order {
		lines = append(lines, subject+": "+strings.Join(bySubject[subject], ", "))
	}
	return lines
}

// finish writes the table, or checks that the one that is there is about these probes and close to what was counted now.
func (r *report) finish(t *testing.T, file string) {
	t.Helper()
	if len(r.versions) < len(columns())-1 {
		t.Log("some peers were not there, so the table is not checked")
		return
	}
	table := r.table()
	if *update {
		if err := os.WriteFile(file, []byte(table), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	was, now := totals(string(text)), totals(table)
	for i, name := range columns() {
		switch {
		case i >= len(was) || was[i].asked != now[i].asked:
			t.Errorf("%s is about other probes: run the test with -update", file)
			return
		case was[i].passed-now[i].passed > reportSlack || now[i].passed-was[i].passed > reportSlack:
			t.Logf("%s %s passes %d of %d; %s says %d", name, r.versions[name], now[i].passed, now[i].asked, file, was[i].passed)
			if strings.Contains(string(text), name+" "+r.versions[name]+" ") {
				t.Errorf("%s is out of date about %s: run the test with -update", file, name)
			}
		}
	}
}

// totals reads the last line of a table.
func totals(table string) []count {
	var out []count
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "| **all** ") {
			for _, cell := range regexp.MustCompile(`(\d+)/(\d+)`).FindAllStringSubmatch(line, -1) {
				passed, _ := strconv.Atoi(cell[1]) // digits
				asked, _ := strconv.Atoi(cell[2])
				out = append(out, count{passed, asked})
			}
		}
	}
	return out
}
