package operator

import (
	"encoding/json"
	"errors"
	"fmt"
)

// snapshotVersion is that of the content of the file of leases.
const snapshotVersion = 1

// snapshot is the content of the file of leases: where reading the audit log begins, and all leases as they were there.
type snapshot struct {
	Version  int     `json:"version"`
	Seq      uint64  `json:"seq"`
	Revision uint64  `json:"revision"`
	Leases   []Lease `json:"leases"`
}

// encode is the file of leases. One whose end is not recorded yet stands in it as it was, so that after a restart it ends again and
// is recorded then; also one that ended so long ago that it is no tombstone any more.
func (b *Book) encode() []byte {
	s := snapshot{Version: snapshotVersion, Seq: b.seq, Revision: b.revision, Leases: []Lease{}}
	owed := map[string]*ending{}
	for i := range b.owed {
		owed[b.owed[i].before.ID] = &b.owed[i]
	}
	for _, l := range b.sorted() {
		if owed[l.ID] == nil {
			s.Leases = append(s.Leases, *l)
		}
	}
	for i := range b.owed {
		s.Leases = append(s.Leases, b.owed[i].before)
	}
	payload, err := json.Marshal(s)
	if err != nil {
		panic("leases have no JSON: " + err.Error()) // their numbers and times were checked
	}
	return payload
}

// decodeSnapshot reads the content of the file of leases.
func decodeSnapshot(payload []byte) (snapshot, error) {
	var s snapshot
	if err := json.Unmarshal(payload, &s); err != nil {
		return snapshot{}, fmt.Errorf("reading leases: %w", err)
	}
	if s.Version != snapshotVersion {
		return snapshot{}, fmt.Errorf("leases are of version %d, this is %d", s.Version, snapshotVersion)
	}
	seen := map[string]bool{}
	for i := range s.Leases {
		l := &s.Leases[i]
		if err := l.sound(); err != nil {
			return snapshot{}, fmt.Errorf("lease %d of %d: %w", i+1, len(s.Leases), err)
		}
		if seen[l.ID] {
			return snapshot{}, fmt.Errorf("lease %s stands twice", l.ID)
		}
		seen[l.ID] = true
	}
	return s, nil
}

// sound says what is wrong with a lease that was read back; nil: nothing that would matter.
func (l *Lease) sound() error {
	if err := checkID(l.ID); err != nil {
		return err
	}
	if err := checkAction(l.Action, l.State, l.Admit); err != nil {
		return err
	}
	switch {
	case !l.Object.Kind.known():
		return fmt.Errorf("no kind of object: %q", clip(string(l.Object.Kind)))
	case l.Object.Name == "":
		return errors.New("its object has no name")
	case l.Expires.IsZero():
		return errors.New("it has no expiry")
	}
	return nil
}
