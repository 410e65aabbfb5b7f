package policy

import (
	"time"

	"geodns/pkg/steering"
)

// Limits on policy files. Each is far above what people write by hand, most are above what they generate. Those of a check's
// keys are in pkg/health; where one of a text is here too, the lesser holds.
const (
	// FilesMax is the most policy files below one folder; with 16 MiB a file it bounds what a load can read.
	FilesMax = 10_000
	// EntriesMax is the most regions, profiles, checks, pools, maps or policies, of each kind, over all files: one policy for each
	// name of a large fleet, and a bound on what the compiler is given.
	EntriesMax = 100_000
	// NameMax is the longest name of anything, in bytes: as long as a DNS label, so that a name fits a metric's label, a
	// log line and a URL.
	NameMax = 63
	// TargetsMax is the most targets of a pool: the answer path draws over them.
	TargetsMax = 4096
	// ValuesMax is the most addresses of one family of a target.
	ValuesMax = steering.ValuesMax
	// RulesMax is the most rules of a policy: each is compared with those before it.
	RulesMax = 1000
	// ConditionsMax is the most geos, subnets or asns, of each, of a rule, and the most areas or subnets of a map.
	ConditionsMax = 10_000
	// RankMax is the most rankers of a rule: there are five kinds, and one may return with a finer band.
	RankMax = 8
	// FallbacksMax is the longest chain of pools that fall back on one another: a plan keeps 16 tiers, more pools than
	// half of that would mostly be lost in the last.
	FallbacksMax = 8
	// ListMax is the most tags of a target, jurisdictions of a region or of a fence, and statuses or answers of a check.
	ListMax = 64
	// TextMax is the longest free text (a jurisdiction, a path, a body to look for), in bytes.
	TextMax = 1024
)

// Limits on policy tests.
const (
	// TestFilesMax is the most files of tests below one folder: as many as there may be of policies.
	TestFilesMax = FilesMax
	// TestsMax is the most tests of one file: more are generated, and can be generated into several.
	TestsMax = 10_000
	// testLineMax is the longest line of a test, in bytes: it has room for some hundred targets.
	testLineMax = 4096
	// testClientsMax is how many networks of a prefix are asked for: what tells clients apart is seldom finer than a part in so many.
	testClientsMax = 256
)

// Ranges of numbers.
const (
	// ScopesMany is the number of scopes past which a policy is warned of: about all that a large resolver's cache holds.
	ScopesMany = 1_000_000
	// suggestionsMax is for how many unknown names a similar one is looked for, which takes as long as there are names.
	suggestionsMax = 100
	// ttlLimit is the largest TTL, 2^31 - 1 (RFC 2181 section 8).
	ttlLimit = 1<<31 - 1
	// asnMax is the largest AS number; 0 (RFC 7607) and 2^32 - 1 (RFC 7300) are reserved.
	asnMax = 1<<32 - 2
	// costMax and capacityMax only keep sums of such numbers exact.
	costMax     = 1e12
	capacityMax = 1e12
	// bandKilometersMax is half the Earth's girth: no two places are farther apart.
	bandKilometersMax = 20_038
	// bandLatencyMax is a latency at which nothing is near any more; a region where everything fails is not worse than that.
	bandLatencyMax = 10 * time.Second
	// pauseMax bounds the dwell of a latency ranking, and a RUM value's age.
	pauseMax = 7 * 24 * time.Hour
	// expiryWarningMax is a year: no certificate that the public trusts lives much longer.
	expiryWarningMax = 366 * 24 * time.Hour
	// samplesMax bounds min_samples.
	samplesMax = 1_000_000
	// factorMax bounds the weight of jitter in a latency ranking.
	factorMax = 1000
)

// Defaults of a policy's TTLs, in seconds.
const (
	ttlMinDefault = 15
	ttlMaxDefault = 60
)
