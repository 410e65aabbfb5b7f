package dnstest_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/probes/PEERS.md")

// probe is one question to a server, well-formed or not, and what the RFCs permit as its answer. The language that probes are
// written in is told in testdata/probes/README.md.
type probe struct {
	place      string // file:line
	subject    string // of its file
	name       string
	ids        string // of the statements that it checks, and RFC sections
	transports []string
	needs      []string // what the server must have for it
	variant    string   // of our server; "" is the usual one
	query      queryText
	want       []permitted // one of these
	ours       []assertion // and from our server all of these
}

// permitted is one answer that is permitted: all of its assertions hold.
type permitted []assertion

// assertion is one statement on an answer, or on the exchange as a whole.
type assertion struct {
	text   string
	answer func(x *exchange, m *message) error // nil: it is on the exchange
	whole  func(x *exchange) error
}

// TestProbes sends every probe to our server, where each must pass, and to the peers, which are counted.
func TestProbes(t *testing.T) {
	subjects := readProbes(t)
	zones := probeZones(t)
	r := newReport(subjects)
	t.Run("servers", func(t *testing.T) {
		t.Run("ours", func(t *testing.T) {
			t.Parallel()
			servers := startOurs(t, zones)
			for _, p := range slices.Concat(subjects...) {
				for _, transport := range p.transports {
					t.Run(p.subject+"/"+p.name+"/"+transport, func(t *testing.T) {
						s := servers[p.variant]
						if s == nil {
							t.Fatalf("%s: there is no variant %q of our server", p.place, p.variant)
						}
						err := s.judge(p, transport)
						r.add(s.name, p, transport, err)
						if err != nil {
							t.Errorf("%s: %s (%s)\n%v", p.place, p.name, p.ids, err)
						}
					})
				}
			}
		})
		for _, peer := range peers() {
			t.Run(peer.name, func(t *testing.T) {
				t.Parallel()
				s := peer.start(t, zones)
				for _, p := range slices.Concat(subjects...) {
					for _, transport := range p.transports {
						if !s.has(p) {
							continue
						}
						err := s.judge(p, transport)
						r.add(s.name, p, transport, err)
						if err != nil { // which is no fault of ours, and only told
							t.Logf("%s: %s (%s) over %s\n%v", p.place, p.name, p.ids, transport, err)
						}
					}
				}
				r.version(s.name, s.version)
				t.Log(r.summary(s.name))
			})
		}
	})
	r.finish(t, filepath.Join(probesDir, "PEERS.md"))
}

// has says whether a server can be asked: whether it has all that the probe needs, and is the one that it is for.
func (s *target) has(p *probe) bool {
	return p.variant == "" && !slices.ContainsFunc(p.needs, func(n string) bool { return slices.Contains(s.lacks, n) })
}

// judge sends a probe and says what is wrong with what comes back.
func (s *target) judge(p *probe, transport string) error {
	x, err := s.exchange(p, transport)
	if err != nil {
		return err
	}
	var wrong []string
	good := false
	for i, alternative := range p.want {
		if err = x.holds(alternative); err == nil {
			good = true
			break
		}
		word := "want"
		if i > 0 {
			word = "or"
		}
		wrong = append(wrong, fmt.Sprintf("%s: %v", word, err))
	}
	if good && s.ours {
		if err = x.holds(p.ours); err != nil {
			good = false
			wrong = []string{fmt.Sprintf("ours: %v", err)}
		}
	}
	if good {
		return nil
	}
	return fmt.Errorf("%s\nsent %s\n%s", strings.Join(wrong, "\n"), hexText(x.query), x)
}

// holds says which of the assertions does not hold. Where there are answers, each of them must be a sound answer to its
// query, whatever else is asserted.
func (x *exchange) holds(list []assertion) error {
	for _, m := range x.answers {
		if err := x.sound(m); err != nil {
			return err
		}
	}
	for _, a := range list {
		if a.whole != nil {
			if err := a.whole(x); err != nil {
				return fmt.Errorf("%s: %w", a.text, err)
			}
			continue
		}
		if len(x.answers) == 0 {
			return fmt.Errorf("%s: there is no answer", a.text)
		}
		for _, m := range x.answers {
			if err := a.answer(x, m); err != nil {
				return fmt.Errorf("%s: %w", a.text, err)
			}
		}
	}
	return nil
}
