package node

import (
	"net/netip"

	"geodns/pkg/api"
	"geodns/pkg/health"
)

// healthConfig is what the checker is told.
func (n *Node) healthConfig() health.Config {
	loopback := n.cfg.onLoopback()
	return health.Config{
		StatePath: n.cfg.stateFile("verdicts"), Log: n.log, OnChange: n.verdictsChanged, OnEvent: n.verdictHappened,
		Canaries: n.cfg.HealthCanaries,
		Allow:    func(a netip.Addr) error { return health.Allowed(a, loopback, n.cfg.HealthAllow) },
		Own:      health.OwnListeners(n.cfg.Listen),
	}
}

// verdictHappened tells those who listen to the API.
func (n *Node) verdictHappened(e health.Event) {
	n.tell(api.EventVerdict, e.ID, api.VerdictEventOf(e))
}

// apiHealth is the checker as the API asks it.
func (n *Node) apiHealth() api.Health {
	return api.Health{
		Vote: n.health.Vote,
		Checks: func() []api.Check {
			all := n.health.Checks()
			out := make([]api.Check, len(all))
			for i := range all {
				out[i] = api.CheckOf(all[i])
			}
			return out
		},
		History: func(target string) ([]api.Probe, bool) {
			kept, ok := n.health.History(target)
			out := make([]api.Probe, len(kept))
			for i := range kept {
				out[i] = api.ProbeOf(kept[i])
			}
			return out, ok
		},
		Tune: func(check string, t health.Thresholds) (api.Tune, bool) {
			report, ok := n.health.Tune(check, t)
			return api.TuneOf(report), ok
		},
		Events: n.events,
	}
}
