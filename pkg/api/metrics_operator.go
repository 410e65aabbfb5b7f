package api

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"geodns/pkg/operator"
)

// operatorDescs names what operators change, and the state of the record of it.
type operatorDescs struct {
	leaseEnds                                  *prometheus.Desc
	auditEntries, auditSigned, auditCheckpoint *prometheus.Desc
	broken, failing                            *prometheus.Desc
}

// newOperatorDescs names them once.
func newOperatorDescs() operatorDescs {
	return operatorDescs{
		leaseEnds:       desc("lease_expires_timestamp_seconds", "When each lease in effect ends by itself.", "lease", "action", "object"),
		auditEntries:    desc("audit_entries", "Number of the last entry of the audit log."),
		auditSigned:     desc("audit_signed_entries", "Number of the last entry of the audit log that a signature covers."),
		auditCheckpoint: desc("audit_checkpoint_timestamp_seconds", "When that signature was made."),
		broken:          desc("audit_broken", "Whether the log that was found at the start did not hold, 0 or 1."),
		failing:         desc("audit_failing", "Whether the last entry could not be written, so that changes are refused, 0 or 1."),
	}
}

// collect renders the leases in effect and the record.
func (d *operatorDescs) collect(leases []operator.Lease, log *operator.LogStatus, now time.Time, gauge gaugeFunc) {
	for i := range leases {
		if l := &leases[i]; l.Active(now) {
			gauge(d.leaseEnds, seconds(l.Expires), l.ID, string(l.Action), l.Object.String())
		}
	}
	gauge(d.auditEntries, float64(log.Seq))
	gauge(d.auditSigned, float64(log.Checkpoint))
	if !log.CheckpointTime.IsZero() {
		gauge(d.auditCheckpoint, seconds(log.CheckpointTime))
	}
	gauge(d.broken, truth(log.Broken != ""))
	gauge(d.failing, truth(log.Failed != ""))
}
