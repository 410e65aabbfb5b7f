package api

import "time"

// Check is a check at GET /v1/checks, with its defaults filled in.
type Check struct {
	Name      string  `json:"name"`
	Kind      string  `json:"kind"              doc:"What it speaks: http, https, tcp, tls, dns"`
	Port      uint16  `json:"port"`
	Method    string  `json:"method,omitempty"`
	Path      string  `json:"path,omitempty"`
	Host      string  `json:"host,omitempty"    doc:"Host header, where it is not the target's own name or address"`
	Query     string  `json:"query,omitempty"   doc:"Name and type that are asked for"`
	Interval  float64 `json:"interval_seconds"  doc:"Between the starts of two probes of an address"`
	Timeout   float64 `json:"timeout_seconds"   doc:"Of a whole probe"`
	Recheck   float64 `json:"recheck_seconds"   doc:"Between probes while a failure is in doubt"`
	Fall      int     `json:"fall"              doc:"Failed probes in a row that make a target down"`
	Rise      int     `json:"rise"              doc:"Good probes in a row that make it up again"`
	WarmUp    float64 `json:"warm_up_seconds"   doc:"After a recovery the part admitted rises to all over this time"`
	Dwell     float64 `json:"dwell_seconds"     doc:"A target that is down stays so at least this long"`
	Damping   Damping `json:"damping"`
	Slow      float64 `json:"slow_seconds,omitempty"  doc:"Latency from which on less than all is admitted; none: latency decides nothing"`
	Worst     float64 `json:"worst_seconds,omitempty" doc:"Latency from which on no more than admit_min is admitted"`
	AdmitMin  float64 `json:"admit_min,omitempty"`
	VotesNeed int     `json:"votes_need"             doc:"Votes that it takes to call a target down; 0: more than half of those that are fresh"`
	VotesAge  float64 `json:"votes_max_age_seconds"  doc:"How long a vote counts that was pushed"`
	Targets   int     `json:"targets_total"     doc:"Targets that it watches"`
	Addresses int     `json:"addresses_total"   doc:"Addresses of these, each probed by itself"`
}

// Damping is how a Check holds targets down that flap (RFC 2439 section 4.2).
type Damping struct {
	On       bool    `json:"on"`
	HalfLife float64 `json:"half_life_seconds,omitempty" doc:"In which a penalty halves; each down verdict adds 1"`
	Suppress float64 `json:"suppress,omitempty"          doc:"Penalty from which on a target is held down"`
	Reuse    float64 `json:"reuse,omitempty"             doc:"Penalty below which it is let up again"`
	Ceiling  float64 `json:"ceiling,omitempty"           doc:"The penalty rises no further"`
}

// History is what GET /v1/targets/{pool}/{target}/history answers.
type History struct {
	Target string  `json:"target" doc:"pool/target"`
	Probes []Probe `json:"probes" doc:"Those that are kept, oldest first, of all addresses"`
}

// Probe is one probe of a History.
type Probe struct {
	At      time.Time `json:"at"              doc:"When it ended"`
	Address string    `json:"address"`
	OK      bool      `json:"ok"`
	Latency float64   `json:"latency_seconds"`
	Reason  string    `json:"reason"          doc:"What it saw"`
	Recheck bool      `json:"recheck"         doc:"It came early, for a failure was in doubt"`
	Void    bool      `json:"void"            doc:"It does not count: the checker doubted itself"`
}

// Tune is what GET /v1/checks/{check}/tune answers: what thresholds would have made of the probes that are kept.
type Tune struct {
	Fall      int        `json:"fall"`
	Rise      int        `json:"rise"`
	Dwell     float64    `json:"dwell_seconds"`
	Damped    bool       `json:"damped"            doc:"Whether targets that flap were held down"`
	Outage    float64    `json:"outage_seconds"    doc:"A failover is false if probes were good again sooner than this"`
	Targets   int        `json:"targets_total"     doc:"Targets whose history was replayed"`
	Probes    int        `json:"probes_total"      doc:"Probes in it"`
	From      time.Time  `json:"from,omitzero"     doc:"The first of them"`
	To        time.Time  `json:"to,omitzero"       doc:"The last of them"`
	Failovers int        `json:"failovers"         doc:"Verdicts down"`
	False     int        `json:"failovers_false"   doc:"... of what was no outage"`
	Missed    int        `json:"outages_missed"    doc:"Outages without a verdict down"`
	Detect    *Detection `json:"detect,omitempty"  doc:"How long it took from the first failed probe to the verdict; none: there was no failover"`
}

// Detection is how long a Tune's failovers took to be seen.
type Detection struct {
	P50 float64 `json:"p50_seconds"`
	P99 float64 `json:"p99_seconds"`
	Max float64 `json:"max_seconds"`
}

// PutVote is the body of PUT /v1/votes/{pop}/{pool}/{target}: what a vantage point sees of a target.
type PutVote struct {
	Boot     uint64   `json:"boot"                  doc:"Of the process that votes, greater for a later one: the seconds since 1970 at its start will do"`
	Sequence uint64   `json:"sequence"              doc:"Of the vote, within the boot"`
	Age      float64  `json:"age_seconds"           minimum:"0" maximum:"3600" doc:"How old what it says is, now; a vote that does not say so is refused"`
	State    string   `json:"state"                 enum:"up,degraded,down"`
	Admit    *float64 `json:"admit,omitempty"       minimum:"0" maximum:"1" doc:"The part of its traffic that the target should take; without it all. A vote for degraded must have one of less than 1"`
	Reason   string   `json:"reason,omitempty"      maxLength:"200" doc:"For people, in a line of at most 200 bytes"`
}

// VoteResult is what PUT /v1/votes/{pop}/{pool}/{target} answers.
type VoteResult struct {
	Accepted bool `json:"accepted" doc:"Whether it counts now; false: a vote of this vantage point is known that is not older"`
}

// CheckList is what GET /v1/checks answers.
type CheckList struct {
	Checks []Check `json:"checks" doc:"Every check of the policies served, by name"`
}

// VerdictEvent is the data of an event `verdict` at GET /v1/events.
type VerdictEvent struct {
	ID     string    `json:"id"               doc:"The verdict's, as in log lines and exemplars"`
	At     time.Time `json:"at"`
	Target string    `json:"target"           doc:"pool/target"`
	From   string    `json:"from"             enum:"up,degraded,down,unknown"`
	To     string    `json:"to"               enum:"up,degraded,down,unknown"`
	Reason string    `json:"reason"           doc:"One word: why"`
	Detail string    `json:"detail,omitempty" doc:"For people"`
	Onset  time.Time `json:"onset,omitzero"   doc:"When the first probe failed that led to it"`
}

// EventVerdict is the kind of a VerdictEvent.
const EventVerdict = "verdict"

// Auth is what a Status says of the API's tokens.
type Auth struct {
	File    string     `json:"file,omitempty"    doc:"The file of tokens; none: there are no static tokens"`
	Tokens  int        `json:"tokens_total"      doc:"Tokens in use"`
	Expired int        `json:"expired_total"     doc:"... of these, that are over"`
	Refused string     `json:"refused,omitempty" doc:"Why the file as it is now is not what is in use"`
	Open    bool       `json:"open"              doc:"No credential is needed: whoever reaches the API's address may use it"`
	Roles   *AuthRoles `json:"roles,omitempty"   doc:"The file of roles"`
	TLS     *AuthTLS   `json:"tls,omitempty"     doc:"Certificates; none: plain HTTP"`
	OIDC    *AuthOIDC  `json:"oidc,omitempty"    doc:"The OIDC issuer whose tokens are believed"`
}

// AuthRoles is the file of roles.
type AuthRoles struct {
	File         string `json:"file"`
	Roles        int    `json:"roles_total"`
	Certificates int    `json:"certificates_total" doc:"Bindings of certificates' names to roles"`
	Claims       int    `json:"claims_total"       doc:"Bindings of OIDC claims to roles"`
	Refused      string `json:"refused,omitempty"  doc:"Why the file as it is now is not what is in use"`
}

// AuthTLS is the certificates of the API's listener.
type AuthTLS struct {
	Certificate string    `json:"certificate"             doc:"The file of the server's certificate"`
	Ends        time.Time `json:"certificate_ends"        doc:"When it ends"`
	ClientCA    string    `json:"client_ca,omitempty"     doc:"The file of the CAs of client certificates; none: there are none"`
	CAEnds      time.Time `json:"client_ca_ends,omitzero" doc:"When the first of them ends"`
	Refused     string    `json:"refused,omitempty"       doc:"Why the files as they are now are not what is in use"`
}

// AuthOIDC is an OIDC issuer.
type AuthOIDC struct {
	Issuer   string    `json:"issuer"`
	Audience string    `json:"audience"`
	Keys     int       `json:"keys_total"        doc:"Keys that tokens are judged by"`
	Fetched  time.Time `json:"fetched,omitzero"  doc:"When they were fetched"`
	Error    string    `json:"error,omitempty"   doc:"Why the last fetch did not succeed; the keys before it are used on"`
}
