package node_test

import (
	"strings"
	"testing"
)

// TestBehaviorErrors shows that a file is read strictly, and that errors tell where.
func TestBehaviorErrors(t *testing.T) {
	for _, c := range []struct{ about, queries, want string }{
		{"no query", "# only a comment", "no query"},
		{"unknown word", "ask www.example.com. A", `f.txt:2: "ask" stands where`},
		{"no name", "query", "f.txt:2: no name"},
		{"no type", "query www.example.com.", "f.txt:2: no type"},
		{"relative name", "query www.example.com A", "final dot"},
		{"unknown type", "query www.example.com. AA", `no such type: "AA"`},
		{"unknown query word", "query www.example.com. A +dnssec", `"+dnssec": no such word`},
		{"unknown value word", "query www.example.com. A +bufsize=1232", `"+bufsize=1232": no such word`},
		{"bad subnet", "query www.example.com. A +ecs=1.2.3/24", `"+ecs=1.2.3/24"`},
		{"bad cookie", "query www.example.com. A +cookie=xyz", `"+cookie=xyz"`},
		{"bad source", "query www.example.com. A source=here", `"source=here"`},
		{"state of nothing", "states web=down\nquery . A", `f.txt:2: "web=down" is not pool/target=state`},
		{"unknown state", "states web/a=off\nquery . A", `no such state: "off"`},
		{"admit", "states web/a=admit:2\nquery . A", "not a number from 0 to 1"},
		{"no answer word", "query . A\n  . 60 IN A 192.0.2.1", "f.txt:3: \".\" stands where `answer` should"},
		{"unknown code", "query . A\nanswer OK", `f.txt:3: no such response code: "OK"`},
		{"no code", "query . A\nanswer", "f.txt:3: no response code"},
		{"unknown flag", "query . A\nanswer NOERROR qr", `no such flag: "qr"`},
		{"two answers", "query . A\nanswer NOERROR\nanswer-udp NOERROR", "f.txt:4: a second answer over udp"},
		{"answer over what is not asked", "query . A +tcp\nanswer-udp NOERROR", `over "udp"`},
		{"unknown section", "query . A\nanswer NOERROR\nanswers", `f.txt:4:`},
		{"record behind a section", "query . A\nanswer NOERROR\nauthority . 60 IN A 192.0.2.1", "lines of their own"},
		{"record without TTL", "query . A\nanswer NOERROR\n  . IN A 192.0.2.1", "f.txt:4: the TTL of ."},
		{"no record", "query . A\nanswer NOERROR\n  . 60 IN A 192.0.2", "f.txt:4: not a record"},
		{"something behind dropped", "query . A\nanswer dropped\nopt udp=1232", "nothing can follow"},
		{"size", "query . A\nanswer NOERROR\nsize many", "not a number of octets"},
		{"open quote", "query . A\nanswer NOERROR\nopt ede=0:\"text", "quote is not closed"},
	} {
		t.Run(c.about, func(t *testing.T) {
			_, err := parseBehavior("f.txt", "-- queries --\n"+c.queries+"\n")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// TestBehaviorText shows that a file that is read and written again is the same, and that -update replaces answers alone.
func TestBehaviorText(t *testing.T) {
	const text = `Head.

-- a.zone --
@ SOA . . 1 2 3 4 5

-- server --
# A comment.
node a

-- queries --
# About.
query a. A +edns
answer-udp NOERROR aa tc
opt udp=1232
answer-tcp NOERROR aa rd
  a. 60 IN A 192.0.2.1
  a. 60 IN A 192.0.2.2
additional
  ns.a. 60 IN TXT "a b" "c"
opt do udp=1232

states
query b. A +udp +size
answer dropped

# The last.
query . SOA
answer BADVERS
`
	b, err := parseBehavior("f.txt", text)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.text(); got != text {
		t.Errorf("read and written again it is\n%s", got)
	}
	mixed := strings.Replace(text, "  a. 60 IN A 192.0.2.1\n  a. 60 IN A 192.0.2.2", "  a. 60 IN A 192.0.2.2\n  a.   60   IN A 192.0.2.1", 1)
	if b, err = parseBehavior("f.txt", strings.Replace(mixed, "opt do udp=1232", "opt udp=1232 do", 1)); err != nil {
		t.Fatal(err)
	}
	if got := b.text(); got != text {
		t.Errorf("with its records and options in another order it is\n%s", got)
	}
}
