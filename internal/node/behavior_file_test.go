package node_test

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"geodns/pkg/steering"
)

// behavior is one file of testdata/behavior: a head, then sections that each begin with a line `-- name --`.
type behavior struct {
	path     string
	lines    []string          // of the whole file, the first is line 1
	files    map[string]string // zone and policy files, and geo-overrides.yaml, by name
	settings []setting         // of the section `server`
	cases    []*behaviorCase
}

// setting is a line of the section `server`: a word and its values.
type setting struct {
	line   int
	word   string
	values []string
}

// values are those of a setting, nil if it is not given.
func (b *behavior) values(word string) []string {
	for _, s := range b.settings {
		if s.word == word {
			return s.values
		}
	}
	return nil
}

// behaviorCase is one query and its answers.
type behaviorCase struct {
	line     int // of the query
	states   map[string]steering.Verdict
	query    *query
	want     map[string]*answer // by transport
	from, to int                // the lines of the answers, counted from 0, to excluded
}

// text is the file with the answers that the cases have now.
func (b *behavior) text() string {
	var out []string
	at := 0
	for _, c := range b.cases {
		out = append(append(out, b.lines[at:c.from]...), c.answers()...)
		at = c.to
	}
	return strings.Join(append(out, b.lines[at:]...), "\n")
}

// answers are the lines of a case's answers.
func (c *behaviorCase) answers() []string {
	transports := c.query.transports()
	first := c.want[transports[0]]
	if len(transports) == 1 || first.String() == c.want[transports[1]].String() {
		return first.linesAs("answer")
	}
	var out []string
	for _, transport := range transports {
		out = append(out, c.want[transport].linesAs("answer-"+transport)...)
	}
	return out
}

// behaviorParser reads a file line by line.
type behaviorParser struct {
	*behavior
	at     int // the line to read, counted from 0
	states map[string]steering.Verdict
}

// parseBehavior reads a file. Errors have its path and a line.
func parseBehavior(path, text string) (*behavior, error) {
	p := behaviorParser{behavior: &behavior{path: path, lines: strings.Split(text, "\n"), files: map[string]string{}}}
	if err := p.parse(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", path, p.at+1, err)
	}
	return p.behavior, nil
}

func (p *behaviorParser) parse() error {
	section := ""
	for ; p.at < len(p.lines); p.at++ {
		line := p.lines[p.at]
		if name, ok := sectionName(line); ok {
			if _, twice := p.files[name]; twice {
				return fmt.Errorf("a second section %q", name)
			}
			section = name
			if !slices.Contains([]string{"server", "queries"}, name) {
				p.files[name] = ""
			}
			continue
		}
		var err error
		switch section {
		case "":
		case "server":
			p.parseSetting(line)
		case "queries":
			err = p.parseQueries(line)
		default:
			p.files[section] += line + "\n"
		}
		if err != nil {
			return err
		}
	}
	if len(p.cases) == 0 {
		return fmt.Errorf("no query: there must be a section `queries` with one or more")
	}
	return nil
}

// sectionName reads `-- name --`.
func sectionName(line string) (string, bool) {
	rest, begins := strings.CutPrefix(line, "-- ")
	name, ends := strings.CutSuffix(rest, " --")
	return name, begins && ends
}

// parseSetting reads a line of the section `server`; what it means is for the server to say.
func (p *behaviorParser) parseSetting(line string) {
	words := strings.Fields(line)
	if len(words) > 0 && !strings.HasPrefix(words[0], "#") {
		p.settings = append(p.settings, setting{p.at + 1, words[0], words[1:]})
	}
}

// parseQueries reads a comment, a states line, or a query with its answers.
func (p *behaviorParser) parseQueries(line string) error {
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	words, err := fields(line)
	if err != nil {
		return err
	}
	switch words[0] {
	case "states":
		p.states, err = parseStates(words[1:])
		return err
	case "query":
		q, err := parseQuery(line, words[1:])
		if err != nil {
			return err
		}
		c := &behaviorCase{line: p.at + 1, states: p.states, query: q, from: p.at + 1, want: map[string]*answer{}}
		p.cases = append(p.cases, c)
		return p.parseAnswers(c)
	}
	return fmt.Errorf("%q stands where a comment, `states` or `query` should", words[0])
}

// parseAnswers reads the lines below a query up to an empty line or the end.
func (p *behaviorParser) parseAnswers(c *behaviorCase) error {
	var now *answer
	for c.to = c.from; c.to < len(p.lines) && p.lines[c.to] != "" && !strings.HasPrefix(p.lines[c.to], "-- "); c.to++ {
		p.at = c.to
		words, err := fields(p.lines[c.to])
		if err != nil {
			return err
		}
		which, begins := strings.CutPrefix(words[0], "answer")
		if !begins {
			if now == nil {
				return fmt.Errorf("%q stands where `answer` should", words[0])
			}
			if err = now.parseLine(p.lines[c.to], words); err != nil {
				return err
			}
			continue
		}
		if now, err = parseAnswer(words[1:]); err != nil {
			return err
		}
		if err = c.give(strings.TrimPrefix(which, "-"), now); err != nil {
			return err
		}
	}
	return nil
}

// give enters the answer over one transport, or over all of the query's ("").
func (c *behaviorCase) give(transport string, a *answer) error {
	transports := c.query.transports()
	if transport != "" {
		if !slices.Contains(transports, transport) {
			return fmt.Errorf("an answer over %q, where the query is not asked over that", transport)
		}
		transports = []string{transport}
	}
	for _, t := range transports {
		if c.want[t] != nil {
			return fmt.Errorf("a second answer over %s", t)
		}
		c.want[t] = a
	}
	return nil
}

// parseStates reads `pool/target=up|down|degraded|unknown[,doubt][,drained][,admit:PART]` for any number of targets. The others
// are up.
func parseStates(words []string) (map[string]steering.Verdict, error) {
	states := map[string]steering.Verdict{}
	for _, w := range words {
		id, text, ok := strings.Cut(w, "=")
		if !ok || !strings.Contains(id, "/") {
			return nil, fmt.Errorf("%q is not pool/target=state", w)
		}
		v := steering.Unchecked()
		for word := range strings.SplitSeq(text, ",") {
			if err := applyState(&v, word); err != nil {
				return nil, fmt.Errorf("%q: %w", w, err)
			}
		}
		states[id] = v
	}
	return states, nil
}

func applyState(v *steering.Verdict, word string) error {
	word, part, hasPart := strings.Cut(word, ":")
	switch {
	case word == "admit" && hasPart:
		f, err := strconv.ParseFloat(part, 64)
		if err != nil || f < 0 || f > 1 {
			return fmt.Errorf("admit is %q, not a number from 0 to 1", part)
		}
		v.Admit = uint16(math.Round(f * steering.AdmitAll))
	case word == "doubt":
		v.InDoubt = true
	case word == "drained":
		v.Drained = true
	default:
		for _, s := range []steering.State{steering.Up, steering.Down, steering.Degraded, steering.Unknown} {
			if word == s.String() {
				v.State = s
				return nil
			}
		}
		return fmt.Errorf("no such state: %q", word)
	}
	return nil
}

// fields splits a line at its spaces, but for those between double quotes and behind a backslash.
func fields(line string) ([]string, error) {
	var words []string
	begin, quoted := -1, false
	for i := 0; i <= len(line); i++ {
		switch {
		case i == len(line), !quoted && line[i] == ' ' && (i == 0 || line[i-1] != '\\'):
			if begin >= 0 {
				words = append(words, line[begin:i])
			}
			begin = -1
		default:
			if begin < 0 {
				begin = i
			}
			if line[i] == '"' && (i == 0 || line[i-1] != '\\') {
				quoted = !quoted
			}
		}
	}
	if quoted {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("spaces alone")
	}
	return words, nil
}
