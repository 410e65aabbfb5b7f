package health

import (
	"time"

	"geodns/pkg/steering"
)

// Vote is what one vantage point says of a target. Of two votes of a PoP the
// one with the greater (Boot, Sequence) is the later.
type Vote struct {
	PoP      string        // the vantage point's name
	Boot     uint64        // of the process that voted, greater for a later one: the seconds since 1970 at its start will do
	Sequence uint64        // of the vote, within the boot
	Age      time.Duration // of what it says, when it is handed over
	State    steering.State
	Admit    uint16 // the part of its traffic that the target should take, of steering.AdmitAll
	Reason   string // for people
}
