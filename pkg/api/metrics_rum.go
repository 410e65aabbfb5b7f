package api

import "github.com/prometheus/client_golang/prometheus"

// rumDescs names what users measured.
type rumDescs struct {
	samples, beacons, plans       *prometheus.Desc
	turnedAway                    *prometheus.Desc
	rungs, sketches, memory, held *prometheus.Desc
	networks                      *prometheus.Desc
	saves, saveErrors, counted    *prometheus.Desc
}

// newRUMDescs names them once.
func newRUMDescs() rumDescs {
	return rumDescs{
		samples:    desc("rum_samples_total", "Measurements of users, by what became of them: accepted, or why they were refused.", "result"),
		beacons:    desc("rum_beacons_total", "Requests with beacons, by what became of them.", "result"),
		plans:      desc("rum_plans_total", "Plans of what to measure that were given to pages."),
		turnedAway: desc("rum_connections_refused_total", "Connections of beacons that were closed at once, as their sources had as many as one may have."),
		rungs:      desc("rum_rungs", "Groups of client networks that may be shown, by kind.", "kind"),
		networks:   desc("rum_networks", "Client networks that are kept, shown or not."),
		sketches:   desc("rum_sketches", "Summaries of a region's times that are kept."),
		memory:     desc("rum_memory_bytes", "Memory of what users measured, about."),
		held:       desc("rum_rungs_held", "Groups that moved faster than is believed, and say what they said before."),
		saves:      desc("rum_saves_total", "Times that it was saved."),
		saveErrors: desc("rum_save_errors_total", "Times that it could not be saved."),
		counted:    desc("rum_counted_timestamp_seconds", "When the summaries were counted last."),
	}
}

// collect renders how it stands.
func (d *rumDescs) collect(s *RUMStatus, gauge gaugeFunc, counter counterFunc) {
	counter(d.samples, s.Accepted, "accepted")
	for why, n := range s.Refused {
		counter(d.samples, n, why)
	}
	for result, n := range s.Beacons {
		counter(d.beacons, n, result)
	}
	counter(d.plans, s.Plans)
	counter(d.turnedAway, s.TurnedAway)
	for kind, n := range s.Rungs {
		gauge(d.rungs, float64(n), kind)
	}
	gauge(d.networks, float64(s.Networks))
	gauge(d.sketches, float64(s.Sketches))
	gauge(d.memory, float64(s.Bytes))
	gauge(d.held, float64(s.Held))
	counter(d.saves, s.Saves)
	counter(d.saveErrors, s.SaveErrors)
	if !s.At.IsZero() {
		gauge(d.counted, seconds(s.At))
	}
}
