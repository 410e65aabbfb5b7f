package api

import "time"

// Status is what a node says of itself at GET /v1/status.
type Status struct {
	Node     string     `json:"node"               doc:"The node's name"`
	Version  string     `json:"version"            doc:"Version of the binary"`
	Started  time.Time  `json:"started"            doc:"When this process began"`
	Ready    bool       `json:"ready"              doc:"What /readyz says"`
	NotReady string     `json:"not_ready,omitempty" doc:"Why it is not ready"`
	Listen   []string   `json:"listen"             doc:"Addresses served, UDP and TCP"`
	Workers  int        `json:"workers"            doc:"UDP workers for each address"`
	World    World      `json:"world"              doc:"What is being served"`
	LastLoad Load       `json:"last_load"          doc:"The last load that was tried"`
	Geo      []Database `json:"geo"                doc:"Geo databases, in the order in which they are asked"`
	Checker  Checker    `json:"checker"            doc:"What probes the targets"`
	Cookies  Cookies    `json:"cookies"            doc:"DNS cookies (RFC 7873)"`
	Auth     Auth       `json:"auth"               doc:"Tokens of this API"`

	Regions []RegionStatus `json:"regions"            doc:"Regions by name, with their targets by state and their share of answers"`
	Inputs  []Input        `json:"inputs"             doc:"What it reads, with the version that is in use"`
	Leases  []Lease        `json:"leases"             doc:"Leases that have an effect, the next to end first, the first 100"`
	LeaseN  int            `json:"leases_total"       doc:"How many leases have an effect"`
	Events  []EventLine    `json:"events"             doc:"The last events, oldest first, at most 10"`
	Audit   AuditStatus    `json:"audit"              doc:"The audit log"`
	RUM     RUMStatus      `json:"rum"                doc:"What users measure"`
}

// RegionOther stands for the regions that are not counted apart: no region has such a name.
const RegionOther = "_other"

// The names of Inputs.
const (
	InputZones         = "zones"
	InputDatabase      = "geo database"
	InputOverrides     = "geo overrides"
	InputTokens        = "tokens"
	InputRoles         = "roles"
	InputCookieSecrets = "cookie secrets"
	InputBinary        = "binary"
)

// Checker is what a node makes of its own health checks.
type Checker struct {
	InDoubt        string `json:"in_doubt,omitempty" enum:"canaries,mass" doc:"Why it does not believe its failed probes: most canaries fail; too many targets began to fail at once"`
	Addresses      int    `json:"addresses"       doc:"Addresses that are probed"`
	CanariesGood   int    `json:"canaries_good"   doc:"Canaries whose last probe was good"`
	CanariesFailed int    `json:"canaries_failed" doc:"... failed, or has not been"`
	Running        int    `json:"probes_running"  doc:"Probes under way"`
	Slots          int    `json:"probes_max"      doc:"Probes that may be"`
	Waiting        int    `json:"probes_waiting"  doc:"Probes that are due, and wait for another to end"`
	Votes          int    `json:"votes"           doc:"Votes of other vantage points that count"`
	Suppressed     int    `json:"suppressed"      doc:"Targets that are held down because they flapped"`
}

// Cookies is how a node makes and accepts DNS cookies (RFC 7873).
type Cookies struct {
	From    string    `json:"from" enum:"off,file,state,memory" doc:"Where the secrets are from: nowhere, cookies are off; a file that nodes share; the node's own, kept in its state folder or not at all"`
	File    string    `json:"file,omitempty"     doc:"The file of secrets"`
	Secrets []string  `json:"secrets"            doc:"A hash of each secret in use: the first makes cookies, all are accepted. Nodes that share secrets show the same"`
	Since   time.Time `json:"since,omitzero"     doc:"When these came into use"`
	Require bool      `json:"require"            doc:"Whether a client with a cookie, but none of ours, has to come back with one"`
	Refused string    `json:"refused,omitempty"  doc:"Why the file as it is now is not what is in use"`
}

// Where the secrets of cookies are from.
const (
	CookiesOff    = "off"
	CookiesFile   = "file"
	CookiesState  = "state"
	CookiesMemory = "memory"
)

// World is what a node serves: zones, table and states that belong together.
type World struct {
	ID    string    `json:"id"        doc:"Content hash of zones and table: the same files give the same id on every node"`
	Table string    `json:"table"     doc:"Content hash of the compiled policies and geo data"`
	Since time.Time `json:"since,omitzero" doc:"When it was swapped in"`
	// Generation tells two documents of one process apart where the id does not: states of targets are no part of that.
	Generation uint64 `json:"generation" doc:"Counts the swaps of this process, those of states alone too; the first world is 1"`
	Zones      []Zone `json:"zones"     doc:"Zones by name, the first 1,000"`
	ZoneN      int    `json:"zones_total"    doc:"How many zones there are"`
	Records    int    `json:"records_total"  doc:"Records of all zones"`
	Policies   int    `json:"policies_total" doc:"Policies"`
	Targets    int    `json:"targets_total"  doc:"Targets"`
	Cells      int    `json:"cells_total"    doc:"Cells: blocks of clients that are told apart"`
}

// ZonesListedMax is how many zones a Status lists; a document should stay readable on a node with a million.
const ZonesListedMax = 1000

// Zone is one zone of a World.
type Zone struct {
	Origin  string `json:"origin"  doc:"Absolute name with its final dot"`
	Serial  uint32 `json:"serial"  doc:"Serial of its SOA"`
	Records int    `json:"records" doc:"Records in it"`
	File    string `json:"file"    doc:"File it was read from"`
}

// Load is the outcome of one load of files.
type Load struct {
	ID       string    `json:"id,omitempty" doc:"Of this load: also in the log and in events"`
	Result   string    `json:"result" enum:"none,loaded,unchanged,refused" doc:"none: no load has ended yet; unchanged: the same world and checks as before; refused: the world before it keeps serving"`
	At       time.Time `json:"at,omitzero"      doc:"When it ended"`
	Seconds  float64   `json:"duration_seconds" doc:"How long it took"`
	World    string    `json:"world,omitempty"  doc:"Id of the world that serves after it"`
	Commit   string    `json:"commit,omitempty" doc:"Of the git work tree that the zones are in, as they were read, refused or not"`
	Findings []Finding `json:"findings"         doc:"Errors and warnings, the first 100"`
	Errors   int       `json:"errors_total"     doc:"How many errors there were"`
	Warnings int       `json:"warnings_total"   doc:"How many warnings there were"`
}

// The results of a Load.
const (
	LoadNone      = "none"
	LoadLoaded    = "loaded"
	LoadUnchanged = "unchanged"
	LoadRefused   = "refused"
)

// FindingsListedMax is how many findings a Load lists: nobody reads more, and one missing name can cause thousands.
const FindingsListedMax = 100

// EventFindingsMax is how many of them an event of the kind EventLoad has: thousands of events are kept.
const EventFindingsMax = 10

// Finding is one error or warning in an operator's file.
type Finding struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Col      int    `json:"col"`
	Severity string `json:"severity" enum:"error,warning"`
	Message  string `json:"message"`
}

// Database is one geo database.
type Database struct {
	Path     string    `json:"path"               doc:"File; empty for the built-in one"`
	Type     string    `json:"type"               doc:"Its own name for what it is"`
	Built    time.Time `json:"built,omitzero"     doc:"When it was built"`
	Networks int       `json:"networks"           doc:"Networks with data in it"`
	Hash     string    `json:"hash,omitempty"     doc:"The first 16 digits of its SHA-256"`
	State    string    `json:"state"              doc:"What of it is in use"`
	Refused  string    `json:"refused,omitempty"  doc:"Why the file at path is not the one in use"`
}

// Target is one target at GET /v1/targets.
type Target struct {
	ID        string    `json:"id"              doc:"pool/target"`
	Region    string    `json:"region,omitempty"`
	Tags      []string  `json:"tags,omitempty"`
	State     string    `json:"state"           enum:"up,degraded,down,unknown" doc:"What answers go by: what health says, under the leases"`
	Health    string    `json:"health"          enum:"up,degraded,down,unknown" doc:"What health says; decision, reason and detail are of this"`
	InDoubt   bool      `json:"in_doubt"        doc:"Answers that depend on it have the policy's least TTL"`
	Doubt     string    `json:"doubt"           enum:"none,never-probed,contested,too-old" doc:"Why: this process has not probed it; a failed probe or vote contradicts the state, and more like it would change it; nothing was heard of it for too long"`
	Admit     float64   `json:"admit"           doc:"The part of its traffic that it takes, 0 to 1"`
	Drained   bool      `json:"drained"         doc:"As good as absent"`
	Leases    []string  `json:"leases,omitempty" doc:"Ids of the leases that have an effect on it"`
	Check     string    `json:"check,omitempty" doc:"Name of its check; none: always up"`
	Since     time.Time `json:"since,omitzero"  doc:"When it came to this state, or came to be known"`
	Decision  string    `json:"decision,omitempty" doc:"Id of the verdict that the state is of: also in the log, in events, and in exemplars of metrics"`
	Reason    string    `json:"reason,omitempty"   doc:"Of that verdict: first-probe, fall, rise, votes, reused, dwelt, slow, fast or renewed"`
	Detail    string    `json:"detail,omitempty"   doc:"What that verdict came of"`
	Hold      string    `json:"hold,omitempty"  enum:"dwelling,suppressed" doc:"Why it is down although its votes call it up: it was not down for as long as the check says; it flapped"`
	HoldEnds  float64   `json:"hold_ends_seconds,omitempty" doc:"When that ends if nothing fails until then, from now"`
	Penalty   float64   `json:"penalty,omitempty"  doc:"Of flapping, now (RFC 2439)"`
	Need      int       `json:"votes_needed,omitempty" doc:"Votes that call it down, of those that count"`
	Votes     []Vote    `json:"votes"           doc:"What other vantage points said last"`
	Addresses []Address `json:"addresses"       doc:"What is probed; this node's vote is down if one address is"`
}

// TargetList is what GET /v1/targets answers.
type TargetList struct {
	Targets []Target `json:"targets" doc:"Every target of the policies served, by id"`
}

// Vote is what another vantage point said last of a Target.
type Vote struct {
	PoP      string  `json:"pop"         doc:"Name of the vantage point"`
	Boot     uint64  `json:"boot"        doc:"Of the process that voted"`
	Sequence uint64  `json:"sequence"    doc:"Of the vote, within the boot"`
	Age      float64 `json:"age_seconds" doc:"Of what it says"`
	State    string  `json:"state"       enum:"up,degraded,down"`
	Admit    float64 `json:"admit"       doc:"The part of its traffic that the target should take"`
	Reason   string  `json:"reason,omitempty"`
	Fresh    bool    `json:"fresh"       doc:"Whether it counts"`
}

// Address is one probed address of a Target.
type Address struct {
	Address   string    `json:"address"              doc:"The address, or the host name that is probed"`
	State     string    `json:"state"                enum:"up,down,unknown" doc:"By the probes of this node"`
	Doubt     string    `json:"doubt"                enum:"none,never-probed,contested,too-old" doc:"Why that is in doubt"`
	LastProbe time.Time `json:"last_probe,omitzero"  doc:"When the last probe ended"`
	LastGood  bool      `json:"last_probe_ok"        doc:"Whether the last probe was good"`
	Reason    string    `json:"reason,omitempty"     doc:"What the last probe saw"`
	Latency   float64   `json:"latency_seconds,omitempty" doc:"How long the last probe took"`
	Smooth    float64   `json:"latency_smoothed_seconds,omitempty" doc:"How long good probes take, smoothed; a check's latency decides by it"`
	Expires   time.Time `json:"certificate_ends,omitzero" doc:"When the first certificate ends that the target showed"`
	Warning   string    `json:"warning,omitempty"    doc:"What the last probe saw that soon may be a failure"`
}
