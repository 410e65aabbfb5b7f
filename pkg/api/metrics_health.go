package api

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"geodns/pkg/health"
)

// exemplarLabel joins a bucket's exemplar with the log line and the event of the same verdict.
const exemplarLabel = "verdict"

// healthDescs names the checker's counts.
type healthDescs struct {
	probes, running, waiting, discarded       *prometheus.Desc
	probeSeconds, lateness, detect, publish   *prometheus.Desc
	verdicts, votes, rechecks, rechecksDenied *prometheus.Desc
	inDoubt, canaries, suppressed, expiry     *prometheus.Desc
	stateSaves, stateSaveError                *prometheus.Desc
}

// newHealthDescs names them once.
func newHealthDescs() healthDescs {
	return healthDescs{
		probes:         desc("probes_total", "Probes that ended, by kind of check and result.", "kind", "result"),
		running:        desc("probes_running", "Probes under way."),
		waiting:        desc("probes_waiting", "Probes that are due and wait for another to end."),
		discarded:      desc("probes_discarded_total", "Probes that ended after their target was removed."),
		probeSeconds:   desc("probe_duration_seconds", "How long probes took, by check and result.", "check", "result"),
		lateness:       desc("probe_lateness_seconds", "How much later than due probes began."),
		detect:         desc("failover_detect_seconds", "From the first failed probe to the verdict down that it led to."),
		publish:        desc("failover_publish_seconds", "From a verdict to the changed answer."),
		verdicts:       desc("verdicts_total", "Changes of a target's verdict, by its new state and the reason.", "to", "reason"),
		votes:          desc("votes_total", "Votes that were pushed, by what came of them.", "result"),
		rechecks:       desc("rechecks_total", "Probes that came early, for a failure was in doubt."),
		rechecksDenied: desc("rechecks_denied_total", "Probes that should have come early, and did not as too many did."),
		inDoubt:        desc("checker_in_doubt", "Whether the checker doubts itself, so that this node's votes are void, 0 or 1, by reason.", "reason"),
		canaries:       desc("canaries", "Canaries by the result of their last probe.", "state"),
		suppressed:     desc("targets_suppressed", "Targets that are held down because they flap."),
		expiry:         desc("certificate_expiry_timestamp_seconds", "When the first of the certificates ends that the check's probes see.", "check"),
		stateSaves:     desc("state_saves_total", "Writes of the verdicts to the state folder."),
		stateSaveError: desc("state_save_errors_total", "Writes of the verdicts that did not succeed."),
	}
}

// collect renders the checker's counts.
func (d *healthDescs) collect(s *health.Stats, gauge gaugeFunc, counter counterFunc) {
	for _, kind := range s.Probes {
		counter(d.probes, kind.Good, kind.Kind.String(), "good")
		counter(d.probes, kind.Failed, kind.Kind.String(), "failed")
	}
	gauge(d.running, float64(s.Running))
	gauge(d.waiting, float64(s.Waiting))
	counter(d.discarded, s.Discarded)
	for _, v := range s.VerdictCounts {
		counter(d.verdicts, v.N, v.To.String(), v.Reason)
	}
	counter(d.votes, s.Votes.Accepted, "accepted")
	counter(d.votes, s.Votes.Stale, "stale")
	counter(d.votes, s.Votes.Refused, "refused")
	counter(d.rechecks, s.Rechecks)
	counter(d.rechecksDenied, s.RechecksDenied)
	for _, reason := range []string{"canaries", "mass"} { // a zero for the others, so that an alert can be seen to end
		gauge(d.inDoubt, truth(s.InDoubt == reason), reason)
	}
	gauge(d.canaries, float64(s.CanariesGood), "good")
	gauge(d.canaries, float64(s.CanariesFailed), "failed")
	gauge(d.suppressed, float64(s.Suppressed))
	for _, e := range s.Expiries {
		gauge(d.expiry, seconds(e.At), e.Check)
	}
	counter(d.stateSaves, s.Saves)
	counter(d.stateSaveError, s.SaveErrors)
}

// collectHistograms renders how long things took.
func (d *healthDescs) collectHistograms(s *health.Stats, out chan<- prometheus.Metric) {
	for i := range s.ProbeSeconds {
		p := &s.ProbeSeconds[i]
		out <- histogram(d.probeSeconds, &p.Good, p.Check, "good")
		out <- histogram(d.probeSeconds, &p.Failed, p.Check, "failed")
	}
	out <- histogram(d.lateness, &s.Lateness)
	out <- histogram(d.detect, &s.Detect)
	out <- histogram(d.publish, &s.Publish)
}

// histogram renders a histogram: Prometheus counts a bucket with all those below it. An exemplar finds its bucket by its value.
func histogram(d *prometheus.Desc, h *health.Histogram, labels ...string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(h.Bounds))
	var total uint64
	for i, n := range h.Counts {
		total += n
		if i < len(h.Bounds) {
			buckets[h.Bounds[i]] = total
		}
	}
	metric, err := prometheus.NewConstHistogram(d, total, h.Sum, buckets, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(d, err)
	}
	var exemplars []prometheus.Exemplar
	for _, e := range h.Exemplars {
		if e.ID != "" {
			exemplars = append(exemplars, prometheus.Exemplar{Value: e.Value, Timestamp: e.At.Round(time.Millisecond), Labels: prometheus.Labels{exemplarLabel: e.ID}})
		}
	}
	if len(exemplars) == 0 {
		return metric
	}
	with, err := prometheus.NewMetricWithExemplars(metric, exemplars...)
	if err != nil {
		return prometheus.NewInvalidMetric(d, err)
	}
	return with
}
