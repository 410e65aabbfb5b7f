package node

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"weak"

	"geodns/pkg/api"
	"geodns/pkg/dnswire"
	"geodns/pkg/policy"
	"geodns/pkg/server"
	"geodns/pkg/steering"
)

// The node answers TXT questions of class CH below geodns, for the addresses that the configuration allows: dig is the debugger that
// everyone has. The server asks over TCP alone, for the goroutine of one connection; answers are bounded in number, time and length,
// and nothing that goes wrong with one comes back to the server.
const (
	// chaosAtOnce is how many answers are made at a time: people ask, not programs.
	chaosAtOnce = 4
	// chaosTimeout is how long a connection waits for one. A decision takes microseconds, its reasons a millisecond; the queries behind
	// it on the connection wait too.
	chaosTimeout = 500 * time.Millisecond
	// chaosLinesMax bounds the lines of an answer: a message over TCP has room for 65,535 octets.
	chaosLinesMax = 200
	// chaosTailMax is how many of them are the last ones where lines have to be left out: what is decided stands behind what it was
	// decided of, in some forty lines.
	chaosTailMax = 80
	// chaosListedMax is how many zones and targets status.geodns lists.
	chaosListedMax = 20
)

// served is what the sockets may be answering from: the last load, and those before it as long as anything else holds on to them, for
// a worker that began its batch before a swap.
type served struct {
	now    *loaded
	before []weak.Pointer[loaded] // the latest first
}

// followed is what is served once another load is.
func (s *served) followed(by *loaded) *served {
	next := &served{now: by, before: []weak.Pointer[loaded]{weak.Make(s.now)}}
	for _, p := range s.before {
		if p.Value() != nil {
			next.before = append(next.before, p)
		}
	}
	return next
}

// loadOf finds the load that a World was made of; nil if it was replaced, or is about to be, as it was restored.
func (n *Node) loadOf(w *server.World) *loaded {
	s := n.served.Load()
	made := func(l *loaded) bool {
		return l != nil && l.rest == nil && l.zones == w.Set() && l.compiled.Table == w.Table()
	}
	if made(s.now) {
		return s.now
	}
	for _, p := range s.before {
		if l := p.Value(); made(l) {
			return l
		}
	}
	return nil
}

// chaosQuestion is a question of class CH, copied out of the server's buffers.
type chaosQuestion struct {
	kind   string // explain, status, client
	name   string // explain: of what, in presentation form; "": nothing
	qtype  string // explain: the type asked of it
	source netip.Addr
	client netip.Prefix // the ECS prefix, else the source
	ecs    bool
	edns   string // what the OPT record says
}

// chaos answers a question of class CH; false where there is no such name. It has the signature that the server wants.
func (n *Node) chaos(w *server.World, q *dnswire.Query, source netip.Addr) ([]string, bool) {
	ask, ok := parseChaos(q, source)
	if !ok {
		return nil, false
	}
	select {
	case n.asking <- struct{}{}:
	default:
		return []string{fmt.Sprintf("busy: %d such questions are being answered; ask again", chaosAtOnce)}, true
	}
	answer := make(chan []string, 1)
	n.askers.Go(func() {
		defer func() { <-n.asking }()
		answer <- n.answerChaos(w, &ask)
	})
	timer := time.NewTimer(chaosTimeout)
	defer timer.Stop()
	select {
	case lines := <-answer:
		return lines, true
	case <-timer.C:
		return []string{fmt.Sprintf("this takes longer than %s; ask the API", chaosTimeout)}, true
	}
}

// parseChaos reads a question's name: NAME.explain.geodns, status.geodns or client.geodns.
func parseChaos(q *dnswire.Query, source netip.Addr) (chaosQuestion, bool) {
	labels := splitName(q.Name[:q.NameLen])
	if len(labels) < 2 || labels[len(labels)-1] != "geodns" {
		return chaosQuestion{}, false
	}
	of := labels[:len(labels)-2]
	ask := chaosQuestion{kind: labels[len(labels)-2], qtype: "A", source: source, client: netip.PrefixFrom(source, source.BitLen())}
	switch {
	case ask.kind == "explain":
		if len(of) > 0 {
			if typ, ok := typeLabel(of[0]); ok {
				if ask.qtype, of = typ, of[1:]; len(of) == 0 {
					ask.name = "." // there is no other way to say the root
				}
			}
		}
		for _, l := range of {
			ask.name += escapeLabel(l) + "."
		}
	case ask.kind != "status" && ask.kind != "client", len(of) > 0:
		return chaosQuestion{}, false
	}
	if q.ECS.Present && q.ECS.Source > 0 { // SOURCE 0 asks for the source address to be used (RFC 7871 section 7.1.2)
		addr := netip.AddrFrom16(q.ECS.Addr)
		if q.ECS.Family == dnswire.FamilyIPv4 {
			addr = netip.AddrFrom4([4]byte(q.ECS.Addr[:4]))
		}
		ask.client, ask.ecs = netip.PrefixFrom(addr, int(q.ECS.Source)).Masked(), true
	}
	ask.edns = "none"
	if q.EDNS {
		ask.edns = fmt.Sprintf("payload %d, DO %t, cookie of %d octets", q.UDPSize, q.DO, q.CookieLen)
	}
	return ask, true
}

// splitName gives the labels of a name in wire form.
func splitName(wire []byte) []string {
	var out []string
	for len(wire) > 1 && int(wire[0]) < len(wire) && wire[0] > 0 {
		out = append(out, string(wire[1:1+wire[0]]))
		wire = wire[1+wire[0]:]
	}
	return out
}

// escapeLabel gives a label in presentation form (RFC 1035 section 5.1).
func escapeLabel(label string) string {
	var b strings.Builder
	for _, c := range []byte(label) {
		switch {
		case c <= ' ' || c > '~':
			fmt.Fprintf(&b, `\%03d`, c)
		case strings.IndexByte(`."\();@$`, c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// typeLabel reads a first label such as _aaaa or _type65 as the type asked for. Types whose label may begin a name of real life, such as
// _https, are written by number.
func typeLabel(label string) (string, bool) {
	typ, ok := strings.CutPrefix(label, "_")
	if !ok {
		return "", false
	}
	digits, numbered := strings.CutPrefix(typ, "type")
	numbered = numbered && digits != "" && strings.Trim(digits, "0123456789") == ""
	named := slices.Contains([]string{"a", "aaaa", "any", "caa", "cname", "mx", "ns", "ptr", "soa", "srv", "txt"}, typ)
	return strings.ToUpper(typ), numbered || named
}

// answerChaos makes an answer. It does not panic: what is wrong with an explanation is nothing to die of.
func (n *Node) answerChaos(w *server.World, ask *chaosQuestion) (lines []string) {
	defer func() {
		if r := recover(); r != nil {
			n.faults.Add(1)
			n.log.Error("answering "+ask.kind+".geodns", "name", ask.name, "type", ask.qtype, "client", ask.client.String(), "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			lines = []string{"a fault of this program; its log has more"}
		}
	}()
	switch ask.kind {
	case "explain":
		lines = n.explainLines(w, ask)
	case "status":
		lines = n.statusLines(time.Now())
	default:
		lines = n.clientLines(w, ask)
	}
	return fitLines(lines)
}

// explainLines are the decision for a name, a line a step.
func (n *Node) explainLines(w *server.World, ask *chaosQuestion) []string {
	if ask.name == "" {
		return []string{
			"ask NAME.explain.geodns for the decision for NAME, for you or for +subnet=PREFIX",
			"ask _aaaa.NAME.explain.geodns for another type than A",
		}
	}
	q := policy.Question{Name: ask.name, Type: ask.qtype, Client: ask.client, ECS: ask.ecs, Source: ask.source, Random: rand.Uint64()}
	e, err := n.explainWorld(w, q)
	if err != nil {
		return []string{"explain: " + err.Error()}
	}
	return append(strings.Split(strings.TrimSuffix(e.Text(), "\n"), "\n"), "node      "+n.cfg.Node+", world "+w.ID())
}

// explainWorld explains by a World what it answers.
func (n *Node) explainWorld(w *server.World, q policy.Question) (*policy.Explanation, error) {
	l := n.loadOf(w)
	if l == nil {
		return nil, errReplaced
	}
	scene := n.cfg.scene(l, w.States())
	scene.Notes, scene.Orders = n.targetNotes, n.orders.Load()
	return policy.Explain(scene, q)
}

// scene is what explain looks at: a load and states.
func (c *Config) scene(l *loaded, states *steering.States) policy.Scene {
	scene := l.scene(states)
	scene.IgnoresECS = func(origin string) bool {
		return slices.ContainsFunc(c.ECSOff, func(z ZoneName) bool { return z.Name == origin })
	}
	return scene
}

// statusLines are what this node is and serves.
func (n *Node) statusLines(now time.Time) []string {
	s := n.status()
	ready := "ready"
	if !s.Ready {
		ready = "NOT READY: " + s.NotReady
	}
	lines := []string{
		fmt.Sprintf("node      %s, %s, up %s, %s", s.Node, s.Version, now.Sub(s.Started).Round(time.Second), ready),
		fmt.Sprintf("world     %s since %s", s.World.ID, s.World.Since.Format(time.RFC3339)),
		fmt.Sprintf("load      %s at %s, errors %d, warnings %d", s.LastLoad.Result, s.LastLoad.At.Format(time.RFC3339), s.LastLoad.Errors, s.LastLoad.Warnings),
		fmt.Sprintf("serving   zones %d, records %d, policies %d, cells %d", s.World.ZoneN, s.World.Records, s.World.Policies, s.World.Cells),
	}
	for _, z := range s.World.Zones[:min(len(s.World.Zones), chaosListedMax)] {
		lines = append(lines, fmt.Sprintf("zone      %s serial %d", z.Origin, z.Serial))
	}
	for _, db := range s.Geo {
		line := strings.TrimSpace("geo       " + strings.TrimSpace(db.Path+" "+db.Type) + ", " + db.State)
		if !db.Built.IsZero() {
			line += fmt.Sprintf(", built %s, %d days ago", db.Built.UTC().Format(time.DateOnly), int(now.Sub(db.Built).Hours()/24))
		}
		lines = append(lines, line)
	}
	lines = append(lines, targetLines(n.targets())...)
	if s.Checker.InDoubt != "" {
		lines = append(lines, fmt.Sprintf("checker   DOES NOT BELIEVE ITS FAILED PROBES (%s)", s.Checker.InDoubt))
	}
	line := "cookies   " + s.Cookies.From
	if len(s.Cookies.Secrets) > 0 {
		line += ", secrets " + strings.Join(s.Cookies.Secrets, " ") + " since " + s.Cookies.Since.Format(time.RFC3339)
	}
	if s.Cookies.Refused != "" {
		line += ", THE FILE IS REFUSED"
	}
	lines = append(lines, line)
	if faults := n.faults.Load(); faults > 0 {
		lines = append(lines, fmt.Sprintf("faults    %d explanations failed by a fault of this program; the log has more", faults))
	}
	return lines
}

// targetLines count the targets by their states, and list those that are not up.
func targetLines(targets []api.Target) []string {
	states := map[string]int{}
	doubted, drained := 0, 0
	var lines []string
	for _, t := range targets {
		states[t.State]++
		if t.Drained {
			drained++
		}
		if t.InDoubt {
			doubted++
		}
		if line := fmt.Sprintf("target    %s is %s", t.ID, t.State); (t.State != "up" || len(t.Leases) > 0) && len(lines) < chaosListedMax {
			if t.Drained {
				line += ", drained"
			}
			if len(t.Leases) > 0 {
				line += fmt.Sprintf(", leases %s", strings.Join(t.Leases, " "))
			}
			lines = append(lines, line)
		}
	}
	count := fmt.Sprintf("targets   up %d, degraded %d, down %d, unknown %d; in doubt %d, drained %d", states["up"], states["degraded"], states["down"], states["unknown"], doubted, drained)
	return append([]string{count}, lines...)
}

// clientLines are who we think that asks, and where.
func (n *Node) clientLines(w *server.World, ask *chaosQuestion) []string {
	ecs := "none, so the source decides"
	if ask.ecs {
		ecs = ask.client.String() + ", which decides"
	}
	lines := []string{"source    " + ask.source.String(), "ecs       " + ecs, "edns      " + ask.edns}
	l := n.loadOf(w)
	if l == nil {
		return append(lines, "place     "+errReplaced.Error())
	}
	for _, r := range records(l.geo, ask.client.Addr()) {
		lines = append(lines, "place     "+r)
	}
	return lines
}

// fitLines makes lines fit the strings of TXT records: longer ones go on in the next, at a space if there is one.
func fitLines(lines []string) []string {
	const indent = "            "
	var out []string
	for _, line := range lines {
		for len(line) > server.TXTStringMax {
			cut := strings.LastIndexByte(line[:server.TXTStringMax+1], ' ')
			if cut <= len(indent) {
				cut = server.TXTStringMax
			}
			out = append(out, line[:cut])
			line = indent + strings.TrimLeft(line[cut:], " ")
		}
		out = append(out, line)
	}
	if more := len(out) - chaosLinesMax + 1; more > 1 {
		const head = chaosLinesMax - chaosTailMax - 1
		out = slices.Replace(out, head, head+more, fmt.Sprintf("and %d lines more here, which the API has", more))
	}
	return out
}
