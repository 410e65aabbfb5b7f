package operator

import (
	"encoding/json"
	"iter"
	"time"
)

// NewOverrides is the snapshot of leases that are active at a time.
func NewOverrides(leases iter.Seq[*Lease], now time.Time) *Overrides {
	return newOverrides(leases, now)
}

// Sound says what is wrong with a lease that was read back.
func (l *Lease) Sound() error { return l.sound() }

// RewriteSnapshot reads the content of a file of leases and writes it again.
func RewriteSnapshot(payload []byte) ([]byte, error) {
	s, err := decodeSnapshot(payload)
	if err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// The bounds of samples.
const (
	ClientsMax   = clientsMax
	ClientsMin   = clientsMin
	DecisionsMax = decisionsMax
)
