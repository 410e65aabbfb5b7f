package health

import "time"

// Probed is a probe that was kept.
type Probed struct {
	Address string
	At      time.Time // when it ended
	OK      bool
	Latency time.Duration
	Reason  string
	Recheck bool // it came early, for a failure was in doubt
	Void    bool // the checker doubted itself
}
