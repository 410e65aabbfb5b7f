package api

import "time"

// Lease is an operator's override at /v1/leases.
type Lease struct {
	ID        string    `json:"id"`
	Revision  uint64    `json:"revision"           doc:"Grows with each change of any lease"`
	Action    string    `json:"action"             enum:"drain,set"`
	Kind      string    `json:"kind"               enum:"target,pool,region,tag" doc:"What it is laid over"`
	Name      string    `json:"name"               doc:"... by its name; a target's is pool/target"`
	State     string    `json:"state,omitempty"    enum:"up,degraded,down" doc:"What set holds the targets at; none: as health has it"`
	Admit     *float64  `json:"admit,omitempty"    doc:"The part of its traffic that set lets each target take at most; none: as health has it"`
	Owner     string    `json:"owner"              doc:"Of the credential that it was last changed with"`
	Reason    string    `json:"reason"`
	Ticket    string    `json:"ticket,omitempty"`
	Override  []string  `json:"override,omitempty" doc:"What it breaks, and its owner accepted"`
	Created   time.Time `json:"created"`
	Updated   time.Time `json:"updated"`
	Expires   time.Time `json:"expires"            doc:"When it ends by itself"`
	Active    bool      `json:"active"             doc:"Whether it has an effect now"`
	Targets   int       `json:"targets_total"      doc:"Targets that it touches now"`
	Ended     time.Time `json:"ended,omitzero"     doc:"When it ended"`
	EndedBy   string    `json:"ended_by,omitempty" doc:"Who ended it; none: it expired"`
	EndReason string    `json:"end_reason,omitempty"`
}

// PutLease is the body of PUT /v1/leases/{id}.
type PutLease struct {
	Action   string    `json:"action"             enum:"drain,set"`
	Kind     string    `json:"kind"               enum:"target,pool,region,tag"`
	Name     string    `json:"name"               minLength:"1" maxLength:"511"`
	State    string    `json:"state,omitempty"    enum:"up,degraded,down" doc:"Of set; without it, as health has it"`
	Admit    *float64  `json:"admit,omitempty"    minimum:"0" maximum:"1" doc:"Of set: the part of its traffic that each target takes at most"`
	Reason   string    `json:"reason"             minLength:"1" maxLength:"500" doc:"For people, in a line"`
	Ticket   string    `json:"ticket,omitempty"   maxLength:"100"`
	For      float64   `json:"for_seconds,omitempty" minimum:"0" doc:"How long it lasts from now; or give expires, so that the same request again is the same lease"`
	Expires  time.Time `json:"expires,omitzero"   doc:"When it ends"`
	Override bool      `json:"override,omitempty" doc:"Do it although a guard refuses; needs leases:override"`
}

// LeaseChange is what a change of a lease did, or with dry_run would do.
type LeaseChange struct {
	Lease   Lease    `json:"lease"`
	Before  *Lease   `json:"before,omitempty" doc:"The active lease with this id until then; none: there was none"`
	Changed bool     `json:"changed"  doc:"Whether anything is other than before; false: the same lease was there already"`
	DryRun  bool     `json:"dry_run"  doc:"Nothing was done"`
	Breaks  []string `json:"breaks"   doc:"What a guard has against it; without override such a change is refused"`
	Audit   uint64   `json:"audit_seq,omitempty" doc:"The entry of the audit log"`
	Impact  *Impact  `json:"impact,omitempty" doc:"With dry_run: what would move"`
	World   string   `json:"world,omitempty"  doc:"Id of the world that serves it now"`
	Seconds float64  `json:"duration_seconds" doc:"How long it took until the sockets answered from it"`
}

// Impact is which clients would be answered otherwise. Clients are the IPv4 addresses that the geo data places.
type Impact struct {
	Share    float64        `json:"share"    doc:"Of the clients of all policies that the lease touches, 0 to 1: those whose answer would have another target"`
	Failed   float64        `json:"failed_share" doc:"... who would be answered SERVFAIL, and are not now"`
	Policies []PolicyImpact `json:"policies" doc:"By policy, the most moved first"`
	Sampled  int            `json:"clients_sampled" doc:"Clients of each policy that were tried, spread evenly over the addresses"`
	Left     int            `json:"policies_left_out,omitempty" doc:"Policies that are touched and were not tried, as there are too many"`
}

// PolicyImpact is the Impact on one policy.
type PolicyImpact struct {
	Policy string  `json:"policy"`
	Share  float64 `json:"share"        doc:"Of its clients"`
	Failed float64 `json:"failed_share"`
	Moves  []Move  `json:"moves"        doc:"From where to where, the largest first"`
}

// Move is a share of clients that goes from one region to another.
type Move struct {
	From  string  `json:"from"  doc:"A region; SERVFAIL: no answer"`
	To    string  `json:"to"`
	Share float64 `json:"share" doc:"Of the policy's clients; within one region, from one target to another"`
}

// LeaseEvent is the data of an event `lease` at GET /v1/events.
type LeaseEvent struct {
	Kind  string `json:"kind"  enum:"put,end,over" doc:"over: it expired"`
	Who   string `json:"who"`
	Audit uint64 `json:"audit_seq,omitempty" doc:"The entry of the audit log; none of one that is over"`
	Lease Lease  `json:"lease"`
}

// SwapEvent is the data of an event `swap`: other answers are served from now on.
type SwapEvent struct {
	ID         string    `json:"id"         doc:"The swap's, as in log lines"`
	At         time.Time `json:"at"`
	Generation uint64    `json:"generation" doc:"Counts the swaps of this process"`
	World      string    `json:"world"`
	Cause      string    `json:"cause"      enum:"load,verdicts,leases,orders" doc:"load: files were loaded, the same ones too; orders: what users measured ranks otherwise; else states of targets alone"`
}

// The causes of a SwapEvent.
const (
	CauseLoad     = "load"
	CauseVerdicts = "verdicts"
	CauseLeases   = "leases"
	CauseOrders   = "orders"
)

// Kinds of events beside EventVerdict. The data of EventLoad is a Load, with few of its findings.
const (
	EventLease = "lease"
	EventLoad  = "load"
	EventSwap  = "swap"
)

// AuditEntry is an entry of the audit log.
type AuditEntry struct {
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind"             doc:"start, stop, lease.put, lease.end, lease.over, load, verdict, tokens, checkpoint"`
	Who    string    `json:"who"`
	Object string    `json:"object,omitempty" doc:"What it is about"`
	ID     string    `json:"id,omitempty"     doc:"The change's own, as in events, logs and metrics"`
	Why    string    `json:"why,omitempty"`
	Ticket string    `json:"ticket,omitempty"`
	Before any       `json:"before,omitempty"`
	After  any       `json:"after,omitempty"`
	Prev   string    `json:"prev"             doc:"Hash of the entry before"`
	Hash   string    `json:"hash"`
}

// Pool is a pool at GET /v1/pools.
type Pool struct {
	Name     string   `json:"name"`
	At       string   `json:"at"                 doc:"file:line:col"`
	Check    string   `json:"check,omitempty"`
	Fallback string   `json:"fallback,omitempty"`
	MinUp    int      `json:"min_up"             doc:"Usable targets below which its fallback answers"`
	Usable   int      `json:"usable_total"       doc:"Targets that may answer now"`
	Targets  []string `json:"targets"            doc:"pool/target, in file order"`
	Policies []string `json:"policies"           doc:"Policies whose rules name it, or reach it as a fallback"`
}

// Policy is a policy at GET /v1/policies.
type Policy struct {
	Name    string       `json:"name"`
	At      string       `json:"at"              doc:"file:line:col"`
	Names   []string     `json:"names"           doc:"Owner names that it steers, the first 100"`
	NameN   int          `json:"names_total"`
	TTLMin  uint32       `json:"ttl_min_seconds"`
	TTLMax  uint32       `json:"ttl_max_seconds"`
	Answers int          `json:"answers"         doc:"Targets that an answer may carry"`
	Pick    string       `json:"pick"            enum:"weighted,hash"`
	AllDown string       `json:"all_down"        enum:"serve-all,serve-first,servfail"`
	Scopes  int          `json:"scopes_total"    doc:"ECS scopes that it publishes"`
	Rules   []PolicyRule `json:"rules"`
}

// PolicyRule is a rule of a Policy.
type PolicyRule struct {
	Name  string   `json:"name"`
	At    string   `json:"at"`
	Match []string `json:"match"           doc:"geos, subnets and asns, as written; none: everyone"`
	Pool  string   `json:"pool"`
	Rank  []string `json:"rank"`
	Fence []string `json:"fence"`
}
