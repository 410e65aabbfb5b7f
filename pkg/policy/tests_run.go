package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"geodns/internal/source"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// TestResult is what became of a test.
type TestResult struct {
	*Test

	Passed bool
}

// RunTests runs tests against a scene, of which States, Records and Notes say nothing: each test has its own. Each that does not pass
// is an error among the findings, at its place, as is a name that stands for nothing.
func RunTests(s Scene, tests []*Test) ([]TestResult, source.Findings) {
	r := &testRun{Scene: s}
	r.Records, r.Notes = nil, nil
	verdicts := make([]steering.Verdict, len(s.Compiled.Targets))
	for i := range verdicts {
		verdicts[i] = steering.Unchecked()
	}
	up, err := steering.NewStates(s.Compiled.Table, verdicts)
	if err != nil {
		r.fs.Errorf(source.WholeFile("tests"), "a fault of this program: %v", err)
		return nil, r.fs
	}
	r.up = up
	out := make([]TestResult, len(tests))
	for i, t := range tests {
		mark := r.fs.Errors()
		r.run(t)
		out[i] = TestResult{Test: t, Passed: r.fs.Errors() == mark}
	}
	return out, r.fs
}

// testRun runs tests.
type testRun struct {
	Scene

	up *steering.States // everything is well
	fs source.Findings
}

// posed is a test's question, ready for Decide.
type posed struct {
	p      *Policy
	q      steering.Query
	nodata bool
}

// run runs one test.
func (r *testRun) run(t *Test) {
	x, ok := r.pose(t)
	if !ok {
		return
	}
	altered, ok := r.conditions(t, x.p)
	if !ok {
		return
	}
	want, ok := r.wanted(t, x.p)
	if !ok {
		return
	}
	if x.nodata || t.want.nodata {
		if x.nodata != t.want.nodata {
			r.fail(t, "expected %s, got %s: policy %s at %s", expectedText(t, want, x.p), map[bool]string{true: "nodata", false: "targets"}[x.nodata], x.p.Name, x.p.Place)
		}
		return
	}
	r.States = r.up
	if len(altered) > 0 {
		states, err := r.up.Altered(altered)
		if err != nil {
			r.fail(t, "a fault of this program: %v", err)
			return
		}
		r.States = states
	}
	if !r.same(t, x, want, netip.Prefix{}) || !t.question.ECS {
		return
	}
	for _, client := range networksIn(t.question.Client) {
		in := *x
		in.q.Client = steering.ClientFrom(client)
		if !r.same(t, &in, want, client) {
			return
		}
	}
}

// fail reports a test that does not pass.
func (r *testRun) fail(t *Test, format string, a ...any) {
	text := fmt.Sprintf(format, a...)
	if t.Name != "" {
		text = fmt.Sprintf("test %q: %s", t.Name, text)
	}
	r.fs.Errorf(t.Place, "%s", text)
}

// networksIn are networks of a prefix, evenly spread, its first and its last among them: /24s or /48s. A prefix as long as one has none
// beside itself.
func networksIn(p netip.Prefix) []netip.Prefix {
	length := steering.CellBitsMax4
	if p.Addr().Is6() {
		length = steering.HashBits6
	}
	if p.Bits() >= length {
		return nil
	}
	spare := length - p.Bits()
	n := uint64(testClientsMax)
	if spare < 8 {
		n = 1 << spare
	}
	last := uint64(1)<<spare - 1
	var out []netip.Prefix
	for i := range n {
		client := steering.ClientFrom(p)
		step := last / (n - 1) * i
		step += last % (n - 1) * i / (n - 1)
		client.Hi |= step << (64 - length)
		client.Bits = uint8(length)
		out = append(out, client.Prefix())
	}
	return out
}

// pose finds what a test's question asks.
func (r *testRun) pose(t *Test) (*posed, bool) {
	qtype, err := typeNumber(t.qtype.text)
	if err != nil {
		r.fs.Errorf(t.qtype.place, "%v", err)
		return nil, false
	}
	if qtype == typeANY {
		r.fs.Errorf(t.qtype.place, "ANY is answered with HINFO alone, as at every name with addresses: write A or AAAA")
		return nil, false
	}
	x := &posed{q: steering.Query{Client: steering.ClientFrom(t.question.Client), ECS: t.question.ECS}}
	p := r.Compiled.Document.Policy(t.what.text)
	reply, owner, err := r.owner(t, qtype)
	switch {
	case err != nil:
		r.fs.Errorf(t.what.place, "%v", err)
		return nil, false
	case owner && p != nil:
		r.fs.Errorf(t.what.place, "%q is a policy, and an owner name in a zone: write %s. for the name, or test the policy by another name that it answers", t.what.text, t.what.text)
		return nil, false
	case owner:
		if !r.steeredOwner(t, qtype, &reply, x) {
			return nil, false
		}
	case p != nil:
		x.p, x.q.TTL = p, p.TTLMax
	default:
		r.fs.Errorf(t.what.place, "%q is no policy, and no name in a zone of ours; %s", clip(t.what.text), r.nearestWhat(t.what.text))
		return nil, false
	}
	x.q.Policy = steering.PolicyID(x.p.Index)
	y, offered := r.Compiled.offered(x.q.Policy, qtype)
	x.q.Type, x.nodata = y, !offered
	return x, true
}

// owner looks WHAT up as an owner name, which has a dot; false: no zone has it. A policy's name need not be one.
func (r *testRun) owner(t *Test, qtype uint16) (reply zone.Reply, found bool, err error) {
	if !strings.Contains(t.what.text, ".") {
		return reply, false, nil
	}
	name, labels, err := parseName(t.what.text)
	if err != nil {
		return reply, false, err
	}
	_, reply = r.ask(&asked{name: name, labels: labels, qtype: qtype}, t.question.ECS)
	return reply, reply.Kind != zone.Outside, nil
}

// steeredOwner takes the policy and the TTL of an owner name, which must be steered.
func (r *testRun) steeredOwner(t *Test, qtype uint16, reply *zone.Reply, x *posed) bool {
	name, labels, _ := parseName(t.what.text)
	q := asked{name: name, labels: labels, qtype: qtype}
	if z := r.zoneOf(&q, reply); t.question.ECS && r.ignoresECS(z.Origin) {
		r.fs.Errorf(t.client.place, "ecs.off has zone %s: a subnet is ignored there; give the address that asks", z.Origin)
		return false
	}
	if reply.Kind != zone.Steered {
		why := "a zone file answers it, no policy"
		if msg, bare := r.ask(&q, false); bare.Kind == zone.Steered {
			why = fmt.Sprintf("its chain leads to %s, which is steered, and with a subnet its first link is answered alone: test that name, or give an address", nameAt(msg, int(bare.Owner)))
		}
		r.fs.Errorf(t.what.place, "%s %s is not steered: %s", t.what.text, typeName(qtype), why)
		return false
	}
	x.p, x.q.TTL = r.Compiled.Document.Policy(r.Zones.SteerPolicies()[reply.Steer]), reply.TTL
	return x.p != nil // a STEER record without a policy is refused before
}

// nearestWhat suggests a policy or a steered name.
func (r *testRun) nearestWhat(text string) string {
	var known []string
	for _, p := range r.Compiled.Document.Policies {
		known = append(known, p.Name)
	}
	for _, s := range r.Zones.Steers() {
		known = append(known, strings.TrimSuffix(s.Owner, "."))
	}
	if n := source.Nearest(strings.TrimSuffix(text, "."), known); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return "write the name of a policy, or an owner name in full"
}

// conditions gives the verdicts that a test's conditions alter.
func (r *testRun) conditions(t *Test, p *Policy) (map[steering.TargetID]steering.Verdict, bool) {
	altered := map[steering.TargetID]steering.Verdict{}
	slots := slotsOf(p)
	for _, c := range t.conditions {
		touches, ok := r.subject(&c)
		if !ok {
			return nil, false
		}
		ours := false
		for i := range r.Compiled.Targets {
			target := r.Compiled.Targets[i].Target
			if !touches(target) {
				continue
			}
			id := steering.TargetID(i)
			v, have := altered[id]
			if !have {
				v = r.up.Verdict(id)
			}
			c.apply(&v)
			altered[id] = v
			ours = ours || slices.Contains(slots, target.Pool)
		}
		if !ours {
			r.fs.Warnf(c.name.place, "no target of policy %q is touched by this: the condition changes nothing", p.Name)
		}
	}
	return altered, true
}

// subject says which targets a condition is about.
func (r *testRun) subject(c *condition) (touches func(*Target) bool, ok bool) {
	doc, name := r.Compiled.Document, c.name.text
	var known []string
	switch c.kind {
	case "region":
		touches = func(t *Target) bool { return t.Region.Name == name }
		for _, region := range doc.Regions {
			known = append(known, region.Name)
		}
	case "pool":
		touches = func(t *Target) bool { return t.Pool.Name == name }
		for _, pool := range doc.Pools {
			known = append(known, pool.Name)
		}
	case "tag":
		touches = func(t *Target) bool { return slices.Contains(t.Tags, name) }
		for _, t := range doc.Targets {
			known = append(known, t.Tags...)
		}
	case "target":
		target, ok := r.target(c.name, doc.Targets, "")
		return func(t *Target) bool { return t == target }, ok
	default:
		return func(*Target) bool { return true }, true
	}
	if slices.Contains(known, name) {
		return touches, true
	}
	hint := "none has it"
	if n := source.Nearest(name, known); n != "" {
		hint = fmt.Sprintf("did you mean %q?", n)
	}
	r.fs.Errorf(c.name.place, "there is no %s %q; %s", c.kind, clip(name), hint)
	return nil, false
}

// target finds the target that a word names, alone or with its pool, among some; of says whose those are.
func (r *testRun) target(w word, among []*Target, of string) (*Target, bool) {
	var found []*Target
	var known []string
	qualified := strings.Contains(w.text, "/")
	for _, t := range among {
		name := t.Name
		if qualified {
			name = t.ID
		}
		known = append(known, name)
		if name == w.text {
			found = append(found, t)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], true
	case len(found) > 1:
		r.fs.Errorf(w.place, "%q is %s and %s: write which", w.text, found[0].ID, found[1].ID)
		return nil, false
	}
	slices.Sort(known)
	known = slices.Compact(known)
	hint := "there are " + strings.Join(known[:min(len(known), listedMax)], ", ")
	if n := source.Nearest(w.text, known); n != "" {
		hint = fmt.Sprintf("did you mean %q?", n)
	}
	r.fs.Errorf(w.place, "there is no target %q%s; %s", clip(w.text), of, hint)
	return nil, false
}

// wanted gives the ids of the targets that a test expects, sorted.
func (r *testRun) wanted(t *Test, p *Policy) ([]string, bool) {
	var among []*Target
	for _, pool := range slotsOf(p) {
		among = append(among, pool.Targets...)
	}
	var want []string
	for _, w := range t.want.targets {
		target, ok := r.target(w, among, fmt.Sprintf(" in policy %q", p.Name))
		if !ok {
			return nil, false
		}
		if slices.Contains(want, target.ID) {
			r.fs.Errorf(w.place, "target %s stands twice", target.ID)
			return nil, false
		}
		want = append(want, target.ID)
	}
	slices.Sort(want)
	return want, true
}

// same says whether a client gets what a test expects, and reports it if not. in is the client where it is not the test's own.
func (r *testRun) same(t *Test, x *posed, want []string, in netip.Prefix) bool {
	all, err := r.Compiled.draws(r.States, &x.q)
	if err != nil {
		r.fail(t, "a fault of this program: %v", err)
		return false
	}
	var got []string
	for _, id := range all.targets {
		got = append(got, r.Compiled.Targets[id].ID)
	}
	slices.Sort(got)
	e := &t.want
	wrongTTL := e.hasTTL && !slices.Equal(all.ttls, []uint32{e.ttl})
	wrongScope := e.hasScope && !in.IsValid() && all.first.Scope != e.scope
	if e.servfail == all.failed && slices.Equal(got, want) && (all.failed || !wrongTTL && !wrongScope) {
		return true
	}
	text := "servfail"
	if !all.failed {
		text = strings.Join(short(got, x.p), " or ")
		if wrongTTL {
			text += " ttl " + ttlsText(all.ttls)
		}
		if wrongScope {
			text += fmt.Sprintf(" scope /%d", all.first.Scope)
		}
	}
	client := ""
	if in.IsValid() {
		client = fmt.Sprintf(" for %s, which is in it", in)
	}
	r.fail(t, "expected %s, got %s%s: %s%s", expectedText(t, want, x.p), text, client, r.why(x), r.more(t, x.p, in))
	return false
}

// ttlsText lists TTLs.
func ttlsText(ttls []uint32) string {
	var out []string
	for _, ttl := range ttls {
		out = append(out, fmt.Sprint(ttl))
	}
	return strings.Join(out, " or ")
}

// short leaves the pool out of ids where a policy has the target's name but once.
func short(ids []string, p *Policy) []string {
	times := map[string]int{}
	for _, pool := range slotsOf(p) {
		for _, t := range pool.Targets {
			times[t.Name]++
		}
	}
	var out []string
	for i, id := range ids {
		if i == listedMax {
			return append(out, fmt.Sprintf("%d more", len(ids)-listedMax))
		}
		if _, name, _ := strings.Cut(id, "/"); times[name] == 1 {
			id = name
		}
		out = append(out, id)
	}
	return out
}

// expectedText is what a test expects.
func expectedText(t *Test, want []string, p *Policy) string {
	e := &t.want
	switch {
	case e.servfail:
		return "servfail"
	case e.nodata:
		return "nodata"
	}
	text := strings.Join(short(want, p), " or ")
	if e.hasTTL {
		text += fmt.Sprintf(" ttl %d", e.ttl)
	}
	if e.hasScope {
		text += fmt.Sprintf(" scope /%d", e.scope)
	}
	return text
}

// why tells rule, tier and pass of a decision.
func (r *testRun) why(x *posed) string {
	var d steering.Decision
	var tr steering.Trace
	steering.Decide(r.Compiled.Table, r.States, &x.q, &d, &tr)
	e := &Explanation{}
	if err := r.plan(e, x.q.Policy, x.q.Client, &tr); err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("rule %s at %s", e.Rule, e.RuleAt)
	if d.Outcome == steering.Answered {
		text += fmt.Sprintf(", tier %d: %s", tr.Tier+1, e.Tiers[tr.Tier].Why)
	}
	return fmt.Sprintf("%s; pass %d: %s", text, tr.Pass, passWhy(&tr, x.p))
}

// more names the command that explains an answer in full; "" if the policy answers no name.
func (r *testRun) more(t *Test, p *Policy, in netip.Prefix) string {
	name := strings.TrimSuffix(t.what.text, ".")
	if p.Name == name {
		i := slices.IndexFunc(r.Zones.Steers(), func(s zone.Steer) bool { return s.Policy == p.Name && !strings.Contains(s.Owner, "*") })
		if i < 0 {
			return ""
		}
		name = strings.TrimSuffix(r.Zones.Steers()[i].Owner, ".")
	}
	if t.qtype.text != "" {
		name += " " + t.qtype.text
	}
	client := t.client.text
	if in.IsValid() {
		client = in.String()
	}
	return fmt.Sprintf("; geodns explain %s --client %s tells more", name, client)
}
