package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"geodns/pkg/rum"
	"geodns/pkg/steering"
	"geodns/pkg/zone"
)

// Question is what an explanation is asked of.
type Question struct {
	Name   string       // a domain name, relative or absolute: both are taken as absolute
	Type   string       // "A", "AAAA", ...; "" is A
	Client netip.Prefix // a whole address: the query's own source; shorter: ECS with that SOURCE
	ECS    bool         // Client is ECS also where it is a whole address
	Source netip.Addr   // whose query Client came in, for zones that ignore ECS; zero: Client's first address
	Random uint64       // the key of weighted draws
}

// Scene is what an explanation looks at: the parts of one world and, for the record that placed the client, geo data.
type Scene struct {
	Zones    *zone.Set
	Compiled *Compiled
	States   *steering.States
	// Orders are the measured orders of now, whose scores are shown where the Table was made of the same; nil: those that it was made of.
	Orders *rum.Orders
	// Records describes an address's place in each database, a line each; nil: not shown.
	Records func(netip.Addr) []string
	// IgnoresECS says of a zone, by its origin, whether client subnets are ignored for its names; nil: none does.
	IgnoresECS func(origin string) bool
	// Notes tells of a target why its state is what it is, its votes and its leases, a line each; nil: not shown.
	Notes func(*Target) []string
}

// Explanation is why a question is answered as it is, by the code that answers it.
type Explanation struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Client string `json:"client"`
	ECS    bool   `json:"ecs"`
	Kind   string `json:"kind"` // steered, static, outside
	Rcode  string `json:"rcode"`
	Note   string `json:"note,omitempty"`
	Zone   string `json:"zone,omitempty"` // the one that answers, its serial and file
	// RRsets are what a static answer is made of, a line each: the section, the owner, TTL, type and number of records.
	RRsets []string `json:"rrsets,omitempty"`

	Policy    string   `json:"policy,omitempty"`
	PolicyAt  string   `json:"policy_at,omitempty"`
	Table     string   `json:"table,omitempty"`
	Cell      string   `json:"cell,omitempty"`
	Place     string   `json:"place,omitempty"`
	Records   []string `json:"records,omitempty"`
	Rule      string   `json:"rule,omitempty"`
	RuleAt    string   `json:"rule_at,omitempty"`
	RuleWhy   string   `json:"rule_why,omitempty"`
	Tiers     []Tier   `json:"tiers,omitempty"`
	Pass      int      `json:"pass,omitempty"`
	PassWhy   string   `json:"pass_why,omitempty"`
	Choice    []string `json:"choice,omitempty"`
	ChoiceWhy string   `json:"choice_why,omitempty"`
	Answer    []string `json:"answer,omitempty"`
	TTL       uint32   `json:"ttl"`
	TTLWhy    string   `json:"ttl_why,omitempty"`
	Scope     uint8    `json:"scope"`
	ScopeWhy  string   `json:"scope_why,omitempty"`

	RunnerUp     *RunnerUp `json:"runner_up,omitempty"`
	Flips        []Flip    `json:"flips,omitempty"`
	FlipsMore    int       `json:"flips_more,omitempty"`    // changes that flip the answer and are not listed
	FlipsUntried int       `json:"flips_untried,omitempty"` // changes that may flip it and were not tried

	owner  string // of the steered records: Name, or where a chain from it leads
	origin string // of the zone that answers
}

// Tier is one tier of the client's plan and why it stands there.
type Tier struct {
	Why     string         `json:"why"`
	Targets []TieredTarget `json:"targets"`
	// Measured is by what latency rankers put the tier where it is: of each region that they had in one tier, which a later ranker may
	// have divided.
	Measured []Measured `json:"measured,omitempty" doc:"What latency rankers knew of the regions that they had in one tier, which a later ranker may have divided"`
	Trade    *Trade     `json:"trade,omitempty"    doc:"What a cost ranker behind latency pays and saves; without it nothing is paid"`
}

// Measured is what users measured of one region, for one latency ranker.
type Measured struct {
	Region  string       `json:"region"`
	Rung    string       `json:"rung"                      doc:"The group of client networks that spoke: 193.0.6.0/24, AS3333 in NL, NL, EU"`
	Settled float64      `json:"settled_seconds,omitempty" doc:"The score that the order holds, which tiers are made by; none: the group does not know the region"`
	Now     *MeasuredNow `json:"now,omitempty"             doc:"What is measured now; none: not enough is"`
}

// MeasuredNow is a score and what it is made of.
type MeasuredNow struct {
	Score    float64 `json:"score_seconds"    doc:"The quantile, with jitter and errors added by their weights"`
	Quantile float64 `json:"quantile_seconds" doc:"Of the measured times, at the policy's percentile"`
	Jitter   float64 `json:"jitter_seconds"`
	Errors   float64 `json:"errors"           doc:"The part that failed, 0 to 1"`
	Samples  float64 `json:"samples"          doc:"How many measurements it has the weight of, after caps and decay"`
	Age      float64 `json:"age_seconds"      doc:"Of the youngest"`
}

// Trade is what the quickest region of a tier is slower than the quickest of those within the latency band, and cheaper.
type Trade struct {
	Region   string  `json:"region"       doc:"The quickest of this tier"`
	Quickest string  `json:"quickest"     doc:"The quickest of all within the latency band"`
	Paid     float64 `json:"paid_seconds" doc:"How much longer the region takes than the quickest"`
	Saved    float64 `json:"saved_cost"   doc:"How much less it costs"`
}

// TieredTarget is one target of a tier, its state and what became of it.
type TieredTarget struct {
	ID      string   `json:"id"`
	Region  string   `json:"region"`
	Values  []string `json:"values"`
	State   string   `json:"state"`
	InDoubt bool     `json:"in_doubt"`
	Drained bool     `json:"drained"`
	Admit   float64  `json:"admit"` // in [0, 1]
	Weight  uint32   `json:"weight"`
	Result  string   `json:"result"`
	Notes   []string `json:"notes,omitempty"` // why its state is what it is, its votes and its leases
}

// messageMax is the room that explain gives an answer: the largest DNS message.
const messageMax = 65535

// Explain answers a question from a scene the way the server does, and tells why. It calls the look-up, Decide and the
// compiler's own functions; an error means that the question is not one, or that those disagree.
func Explain(s Scene, q Question) (*Explanation, error) {
	qtype, err := typeNumber(q.Type)
	if err != nil {
		return nil, err
	}
	name, labels, err := parseName(q.Name)
	if err != nil {
		return nil, err
	}
	if !q.Client.IsValid() {
		return nil, errors.New("a client address or prefix is needed, such as 192.0.2.1 or 198.51.100.0/24")
	}
	if q.Client.Bits() == 0 {
		return nil, errors.New("a prefix of length 0 says nothing of the client (RFC 7871 section 7.1.2): give the address that the query comes from")
	}
	e, err := s.explain(&asked{Question: q, name: name, labels: labels, qtype: qtype})
	if err == nil && s.ignoresECS(e.origin) {
		e.Note = strings.TrimSuffix("ecs.off has this zone: a subnet in the query is ignored, and the address that asks decides; "+e.Note, "; ")
	}
	return e, err
}

// asked is a question with its name in wire form and its type's number.
type asked struct {
	Question

	name   []byte
	labels int
	qtype  uint16
}

// ask looks the question up.
func (s Scene) ask(q *asked, ecs bool) ([]byte, zone.Reply) {
	msg := make([]byte, 12+len(q.name)+4, messageMax)
	copy(msg[12:], q.name)
	return s.Zones.Answer(msg, q.name, q.labels, q.qtype, messageMax, ecs)
}

// ignoresECS says whether client subnets are ignored for a zone's names; "" is no zone.
func (s Scene) ignoresECS(origin string) bool {
	return origin != "" && s.IgnoresECS != nil && s.IgnoresECS(origin)
}

// explain answers a question that is one.
func (s Scene) explain(q *asked) (*Explanation, error) {
	client := steering.ClientFrom(q.Client)
	e := &Explanation{
		Name: strings.TrimSuffix(q.Name, ".") + ".", Type: strings.ToUpper(q.Type), Client: client.Prefix().String(),
		ECS: q.ECS || !client.Prefix().IsSingleIP(), Rcode: "NOERROR",
	}
	if e.Type == "" {
		e.Type = "A"
	}
	msg, reply := s.ask(q, e.ECS)
	if reply.Kind == zone.Outside {
		e.Kind, e.Rcode, e.Note = "outside", "REFUSED", "no zone of ours holds this name"
		return e, nil
	}
	from := s.zoneOf(q, &reply)
	e.Zone, e.origin = zoneText(&from), from.Origin
	if e.ECS && s.ignoresECS(e.origin) {
		source := q.Source
		if !source.IsValid() {
			source = client.Addr()
		}
		client = steering.ClientFrom(netip.PrefixFrom(source, source.BitLen()))
		e.Client, e.ECS = client.Prefix().String(), false
		msg, reply = s.ask(q, false)
	}
	if reply.Kind == zone.Answered {
		e.Kind, e.Rcode = "static", rcodeName(reply.Rcode)
		e.static(msg, 12+len(q.name)+4, &reply)
		if e.ECS {
			if msg, reply = s.ask(q, false); reply.Kind == zone.Steered {
				e.Note += fmt.Sprintf("; its chain leads to %s, which is steered, so that with ECS its first link is answered alone", nameAt(msg, int(reply.Owner)))
			}
		}
		return e, nil
	}
	e.Kind, e.owner = "steered", e.Name
	if reply.AN > 0 {
		e.owner = nameAt(msg, int(reply.Owner))
		e.Note = fmt.Sprintf("reached over %d CNAME or DNAME records", reply.AN)
	}
	return e, s.steered(e, q.Question, client, reply, q.qtype)
}

// steered fills in what a policy decides.
func (s Scene) steered(e *Explanation, q Question, client steering.Client, reply zone.Reply, qtype uint16) error {
	c := s.Compiled
	e.Policy = s.Zones.SteerPolicies()[reply.Steer]
	p := c.Document.Policy(e.Policy)
	if p == nil {
		return fmt.Errorf("the zone names policy %q, which is in no policy file", e.Policy)
	}
	id := steering.PolicyID(p.Index)
	e.PolicyAt, e.Table = p.Place.String(), c.Table.ID()
	y, offered := c.offered(id, qtype)
	switch {
	case offered:
	case qtype == typeANY:
		e.Note, e.ScopeWhy = `answered with HINFO "RFC8482" alone, as ANY is at every name with addresses`, "the same for any client"
		return nil
	default:
		e.Note, e.ScopeWhy = "NODATA: the policy's targets have nothing of this type, for any client", "a negative answer"
		return nil
	}
	x := decided{Scene: s, p: p, q: steering.Query{Policy: id, Type: y, Client: client, ECS: e.ECS, TTL: reply.TTL, Random: q.Random}}
	d, tr := &x.d, &x.tr
	steering.Decide(c.Table, s.States, &x.q, d, tr)
	if err := s.plan(e, id, client, tr); err != nil {
		return err
	}
	if s.Records != nil {
		e.Records = s.Records(client.Addr())
	}
	e.TTL, e.Scope, e.Pass = d.TTL, d.Scope, int(tr.Pass)
	e.PassWhy = passWhy(tr, p)
	e.TTLWhy = s.ttlWhy(p, d, tr, reply.TTL)
	e.ScopeWhy = scopeWhy(p, client, e.ECS, tr)
	if d.Outcome == steering.Failed {
		e.Rcode = "SERVFAIL"
	} else {
		s.choice(e, p, y, d, tr)
	}
	return x.others(e)
}

// offered gives the kind of answer that a policy has for a query type.
func (c *Compiled) offered(id steering.PolicyID, qtype uint16) (steering.Type, bool) {
	switch {
	case c.Table.Offers(id, steering.Host):
		return steering.Host, true
	case qtype == typeA:
		return steering.A, c.Table.Offers(id, steering.A)
	case qtype == typeAAAA:
		return steering.AAAA, c.Table.Offers(id, steering.AAAA)
	}
	return 0, false
}

// plan tells the client's place, rule and tiers, and holds the compiler's ranking of now against the plan that Decide
// used: two routes to the same.
func (s Scene) plan(e *Explanation, id steering.PolicyID, client steering.Client, tr *steering.Trace) error {
	c := s.Compiled
	l, p := c.layoutFor(id), c.Document.Policies[id]
	l.live = s.Orders
	e.Cell = tr.Cell.String()
	if tr.Long.IsValid() {
		e.Cell = tr.Long.String() + " (an operator's subnet, longer than a cell)"
	}
	k := c.clientAt(client)
	e.Place = k.describe()
	rule := l.ruleFor(&k)
	e.Rule, e.RuleAt, e.RuleWhy = p.Rules[rule].Name, p.Rules[rule].Place.String(), ruleWhy(p, rule)
	r := l.rank(rule, &k, true)
	tiers := slices.Collect(tiersOf(r.entries()))
	if len(tiers) != len(tr.Tiers) {
		return fmt.Errorf("the plan now has %d tiers, the table's %d: a fault of this program", len(tiers), len(tr.Tiers))
	}
	for i, t := range tr.Tiers {
		tier := Tier{Why: r.plan.why[i].text, Measured: r.plan.why[i].measured, Trade: r.plan.why[i].trade}
		for j, g := range t.Targets {
			target := c.Targets[g.ID]
			if target.ID != c.targetOf(p, l, tiers[i], j) {
				return fmt.Errorf("tier %d holds %s in the table and not in the plan of now: a fault of this program", i+1, target.ID)
			}
			v := s.States.Verdict(g.ID)
			var notes []string
			if s.Notes != nil {
				notes = s.Notes(target.Target)
			}
			tier.Targets = append(tier.Targets, TieredTarget{
				Notes: notes, ID: target.ID, Region: target.Region.Name, Values: target.values(), State: v.State.String(), InDoubt: v.InDoubt,
				Drained: v.Drained, Admit: float64(v.Admit) / steering.AdmitAll, Weight: target.Weight, Result: result(g),
			})
		}
		e.Tiers = append(e.Tiers, tier)
	}
	return nil
}

// layoutFor is a policy's layout, with the pools of this policy in place of the first's: reasons name pools.
func (c *Compiled) layoutFor(id steering.PolicyID) *layout {
	l := *c.layouts[c.layoutOf[id]]
	l.slots = slotsOf(c.Document.Policies[id])
	return &l
}

// targetOf is the id of the j'th target of a tier of a layout's plan, for one of its policies.
func (c *Compiled) targetOf(p *Policy, l *layout, tier []uint16, j int) string {
	if j >= len(tier) {
		return ""
	}
	slots := slotsOf(p)
	for slot, at := range l.slotAt {
		if i := int(tier[j]) - at; i >= 0 && i < len(slots[slot].Targets) {
			return slots[slot].Targets[i].ID
		}
	}
	return ""
}

// clientAt is the kind of client that the compiler takes an address for: of a long subnet that it is known to be in, also
// where the plan is the same as around it, and the Table knows nothing of the subnet.
func (c *Compiled) clientAt(at steering.Client) client {
	known := max(at.Bits, cellWidth(at.V4)) // bits behind the known ones are zero
	subnet := c.subnets.find(netip.PrefixFrom(at.Addr(), int(known)).Masked())
	for i := range c.long {
		if c.long[i].client.subnet == subnet {
			return c.long[i].client
		}
	}
	return c.clientIn(at.Addr(), subnet)
}

// result is what became of a target, the first pass's reason added where a later one answered.
func result(g steering.TargetTrace) string {
	if g.First != g.Reason && g.First != steering.NotReached {
		return fmt.Sprintf("%s (first pass: %s)", g.Reason, g.First)
	}
	return g.Reason.String()
}

// values lists a compiled target's values.
func (t *CompiledTarget) values() []string {
	if t.Host != "" {
		return []string{t.Host}
	}
	var out []string
	for _, a := range slices.Concat(t.V4, t.V6) {
		out = append(out, a.String())
	}
	return out
}

// ruleWhy tells why a rule is the client's.
func ruleWhy(p *Policy, rule int) string {
	switch {
	case p.Rules[rule].MatchesAll() && rule == 0:
		return "the only rule; it matches everyone"
	case p.Rules[rule].MatchesAll():
		return "no rule before it matches; it matches everyone"
	}
	return "the first rule that matches"
}

// passWhy tells which pass answered.
func passWhy(tr *steering.Trace, p *Policy) string {
	switch tr.Pass {
	case 1:
		return "usable and admitted targets"
	case 2:
		return "nothing usable was admitted: admit and min_up are ignored"
	case 3:
		return "nothing is usable: all_down is " + p.AllDown.String()
	}
	return "nothing can answer: all_down is " + p.AllDown.String() + ", or every target is drained"
}

// ttlWhy tells where the TTL comes from.
func (s Scene) ttlWhy(p *Policy, d *steering.Decision, tr *steering.Trace, zoneTTL uint32) string {
	doubt := ""
	switch {
	case d.Outcome == steering.Failed:
		return "no answer"
	case tr.Pass == 3:
		doubt = "all_down answers"
	case tr.DoubtBefore:
		doubt = "a target of a tier before is in doubt"
	case slices.ContainsFunc(d.Targets[:d.N], func(id steering.TargetID) bool { return s.States.Verdict(id).InDoubt }):
		doubt = "a target of the answer is in doubt"
	}
	if doubt != "" {
		return fmt.Sprintf("the least of the record's %d and the policy's ttl min %d, as %s", zoneTTL, p.TTLMin, doubt)
	}
	return fmt.Sprintf("the least of the record's %d and the policy's ttl max %d", zoneTTL, p.TTLMax)
}

// scopeWhy tells where the scope comes from.
func scopeWhy(p *Policy, client steering.Client, ecs bool, tr *steering.Trace) string {
	why := "the shortest prefix in which every address has this plan"
	switch {
	case !ecs:
		return "no scope without ECS"
	case tr.Long.IsValid():
		why = "the operator's subnet " + tr.Long.String()
	case tr.GeoLost && tr.ByClient:
		return "the geo data is lost, so an answer holds for no more than it was asked for"
	case !tr.ByClient && p.Pick != PickHash:
		return "the policy does not depend on the client"
	case !tr.ByClient:
		why = "the policy does not depend on the client"
	case tr.Published == steering.ScopeMin4 && client.V4, tr.Published == steering.ScopeMin6 && !client.V4:
		why += ", or the least that is published"
	}
	if p.Pick == PickHash {
		why += ", and at least the network that `pick: hash` is stable for"
	}
	return why
}

// choice tells what is answered.
func (s Scene) choice(e *Explanation, p *Policy, y steering.Type, d *steering.Decision, tr *steering.Trace) {
	for _, id := range d.Targets[:d.N] {
		t := s.Compiled.Targets[id]
		e.Choice = append(e.Choice, t.ID)
		switch y {
		case steering.A:
			for _, a := range t.V4 {
				e.Answer = append(e.Answer, fmt.Sprintf("%s %d IN A %s", e.owner, d.TTL, a))
			}
		case steering.AAAA:
			for _, a := range t.V6 {
				e.Answer = append(e.Answer, fmt.Sprintf("%s %d IN AAAA %s", e.owner, d.TTL, a))
			}
		case steering.Host:
			e.Answer = append(e.Answer, fmt.Sprintf("%s %d IN CNAME %s", e.owner, d.TTL, t.Host))
		}
	}
	candidates := 0
	for _, g := range tr.Tiers[tr.Tier].Targets {
		if g.Reason == steering.Chosen || g.Reason == steering.NotDrawn {
			candidates++
		}
	}
	switch {
	case tr.Pass == 3 && p.AllDown == ServeFirst:
		e.ChoiceWhy = "the plan's first target that is not drained"
	case candidates <= p.Answers:
		e.ChoiceWhy = fmt.Sprintf("tier %d has no more candidates than `answers`, %d", tr.Tier+1, p.Answers)
	case p.Pick == PickHash:
		e.ChoiceWhy = fmt.Sprintf("%d of tier %d's %d candidates, drawn by weight, always the same for this client network", d.N, tr.Tier+1, candidates)
	default:
		e.ChoiceWhy = fmt.Sprintf("%d of tier %d's %d candidates, drawn by weight, anew for each query: this is one draw", d.N, tr.Tier+1, candidates)
	}
}
