package dnstest_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const probesDir = "testdata/probes"

// probesLeast is how many probes there are at least: a file that is not read would show nowhere else.
const probesLeast = 250

// readProbes reads all files of probes, each one subject.
func readProbes(t *testing.T) [][]*probe {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(probesDir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var subjects [][]*probe
	names := map[string]string{}
	total := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		probes, err := parseProbes(filepath.Base(file), string(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range probes {
			if before, twice := names[p.name]; twice {
				t.Fatalf("%s: %s stands twice, before at %s", p.place, p.name, before)
			}
			names[p.name] = p.place
		}
		subjects = append(subjects, probes)
		total += len(probes)
	}
	if total < probesLeast {
		t.Fatalf("%d probes, which is less than %d", total, probesLeast)
	}
	return subjects
}

// textLine is one line of a probe: a word, and what it says of it.
type textLine struct {
	place, word, rest string
}

// parseProbes reads one file. A probe begins with a line `probe NAME`; its other lines are indented.
func parseProbes(file, text string) ([]*probe, error) {
	var probes []*probe
	var block []textLine
	flush := func() error {
		if len(block) == 0 {
			return nil
		}
		all, err := expand(strings.TrimSuffix(file, ".txt"), block)
		block = nil
		probes = append(probes, all...)
		return err
	}
	scanner := bufio.NewScanner(strings.NewReader(text))
	for n := 1; scanner.Scan(); n++ {
		line := scanner.Text()
		place := fmt.Sprintf("%s:%d", file, n)
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == "" || strings.HasPrefix(word, "#"):
			continue
		case word == "probe" && line[0] != ' ':
			if err := flush(); err != nil {
				return nil, err
			}
		case line[0] != ' ' || len(block) == 0:
			return nil, fmt.Errorf("%s: %q: a line that is not of a probe", place, line)
		}
		block = append(block, textLine{place, word, strings.TrimSpace(rest)})
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return probes, flush()
}

// expand makes the probes of a block: one, or one for each value of a line `each X VALUES`, with $X replaced everywhere.
func expand(subject string, block []textLine) ([]*probe, error) {
	i := slices.IndexFunc(block, func(l textLine) bool { return l.word == "each" })
	if i < 0 {
		p, err := parseProbe(subject, block)
		return []*probe{p}, err
	}
	name, list, _ := strings.Cut(block[i].rest, " ")
	values, err := eachValues(list)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", block[i].place, err)
	}
	var probes []*probe
	for _, v := range values {
		var lines []textLine
		for _, l := range slices.Delete(slices.Clone(block), i, i+1) {
			l.rest = strings.ReplaceAll(l.rest, "$"+name, v)
			lines = append(lines, l)
		}
		more, err := expand(subject, lines)
		if err != nil {
			return nil, err
		}
		probes = append(probes, more...)
	}
	return probes, nil
}

// eachValues reads a list of words; A..B is the numbers from A to B.
func eachValues(list string) ([]string, error) {
	var values []string
	for word := range strings.FieldsSeq(list) {
		from, to, isRange := strings.Cut(word, "..")
		if !isRange {
			values = append(values, word)
			continue
		}
		a, err := strconv.Atoi(from)
		if err != nil {
			return nil, err
		}
		b, err := strconv.Atoi(to)
		if err != nil {
			return nil, err
		}
		for n := a; n <= b; n++ {
			values = append(values, strconv.Itoa(n))
		}
	}
	return values, nil
}

// parseProbe reads the lines of one probe.
func parseProbe(subject string, block []textLine) (*probe, error) {
	p := &probe{place: block[0].place, subject: subject, transports: []string{"udp", "tcp"}}
	var list *[]assertion // that `and` goes on with
	for _, l := range block {
		var err error
		switch l.word {
		case "probe":
			p.name = l.rest
		case "for":
			p.ids = l.rest
		case "on":
			p.transports = strings.Fields(l.rest)
		case "needs":
			p.needs = strings.Fields(l.rest)
		case "variant":
			p.variant = l.rest
		case "why":
		case "want", "or":
			p.want = append(p.want, nil)
			list = (*[]assertion)(&p.want[len(p.want)-1])
			*list, err = parseAssertions(l.rest)
		case "ours":
			list = &p.ours
			*list, err = parseAssertions(l.rest)
		case "and":
			var more []assertion
			if more, err = parseAssertions(l.rest); list == nil {
				err = fmt.Errorf("`and` before `want`")
			} else {
				*list = append(*list, more...)
			}
		default:
			err = p.query.line(l.word, l.rest)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", l.place, l.word, err)
		}
	}
	return p, p.check()
}

// check refuses a probe that lacks something, or would test nothing.
func (p *probe) check() error {
	switch {
	case p.name == "" || strings.ContainsAny(p.name, " $"):
		return fmt.Errorf("%s: %q is no name", p.place, p.name)
	case !strings.Contains(p.ids, "A-") || !strings.Contains(p.ids, "RFC"):
		return fmt.Errorf("%s: `for` names the statements (A-01) and RFC sections that the probe is for", p.place)
	case len(p.want) == 0:
		return fmt.Errorf("%s: nothing is wanted", p.place)
	case slices.ContainsFunc(p.transports, func(s string) bool { return s != "udp" && s != "tcp" }):
		return fmt.Errorf("%s: transports are udp and tcp", p.place)
	}
	_, err := p.query.build(&environment{client: []byte("01234567"), server: func() ([]byte, error) { return make([]byte, 16), nil }})
	if err != nil {
		return fmt.Errorf("%s: %w", p.place, err)
	}
	return nil
}
