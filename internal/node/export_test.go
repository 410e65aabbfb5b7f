package node

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"geodns/internal/source"
	"geodns/pkg/api"
	"geodns/pkg/dnswire"
	"geodns/pkg/geo"
	"geodns/pkg/health"
	"geodns/pkg/operator"
	"geodns/pkg/policy"
	"geodns/pkg/rum"
	"geodns/pkg/server"
)

// TargetState is the state of a checked target, "" if there is none.
func (n *Node) TargetState(id string) string {
	for _, t := range n.targets() {
		if t.ID == id {
			return t.State
		}
	}
	return ""
}

// Touch does what the watcher does when a file has changed.
func (n *Node) Touch() { signal(n.touched) }

// Loads counts the loads by their results.
func (n *Node) Loads() (loaded, unchanged, refused uint64) {
	c := n.loadCounts()
	return c.Loaded, c.Unchanged, c.Refused
}

// OwnAccept is how long the secret before a node's own is accepted, OwnLife how long one is used at most.
const (
	OwnAccept = ownAccept
	OwnLife   = ownLife
)

// Kept is a node's own cookie secret and what it knows of it.
type Kept = kept

// WallClock is the time that secrets are renewed by.
func WallClock() time.Time { return wallClock() }

// Times are when the secret was made and when the next is due.
func (k *keeper) Times() (made, renew time.Time) { return k.kept.made, k.kept.renew }

// Keeper keeps one.
type Keeper = keeper

// NewKeeper takes up the secret of a file, or makes one.
func NewKeeper(path string, log *slog.Logger) *Keeper { return newKeeper(path, log) }

// Secrets are those in use.
func (k *keeper) Secrets() [][16]byte { return plain(k.kept.secrets()) }

// Run renews it.
func (k *keeper) Run(ctx context.Context, set func([][16]byte)) error {
	return k.run(ctx, func(s []secret) { set(plain(s)) })
}

// Step is what holds at a time.
func (k kept) Step(now time.Time, fresh func() ([16]byte, time.Duration)) Kept {
	return k.step(now, func() (secret, time.Duration) {
		s, life := fresh()
		return s, life
	})
}

// Wait is how long nothing changes.
func (k kept) Wait(now time.Time) time.Duration { return k.wait(now) }

// Secrets are those that are accepted.
func (k kept) Secrets() [][16]byte { return plain(k.secrets()) }

func plain(secrets []secret) [][16]byte {
	out := make([][16]byte, len(secrets))
	for i, s := range secrets {
		out[i] = s
	}
	return out
}

// ParseSecrets reads a file of cookie secrets.
func ParseSecrets(file string, data []byte) ([][16]byte, source.Findings) {
	var fs source.Findings
	return plain(parseSecrets(file, data, &fs)), fs
}

// ShowSecret formats a secret, alone and inside what holds it.
func ShowSecret(s [16]byte, verb string) string {
	return fmt.Sprintf(verb+" "+verb, secret(s), kept{secret: s, before: (*secret)(&s)})
}

// World is what is served.
func (n *Node) World() *server.World { return n.server.World() }

// Chaos answers a question of class CH as the server asks it.
func (n *Node) Chaos(w *server.World, q *dnswire.Query, from netip.Addr) ([]string, bool) {
	return n.chaos(w, q, from)
}

// AnswerChaos answers it without the bound in time.
func (n *Node) AnswerChaos(w *server.World, q *dnswire.Query, from netip.Addr) ([]string, bool) {
	ask, ok := parseChaos(q, from)
	if !ok {
		return nil, false
	}
	return n.answerChaos(w, &ask), true
}

// Faults counts answers that ended in a panic.
func (n *Node) Faults() uint64 { return n.faults.Load() }

// FitLines makes lines fit TXT records.
func FitLines(lines []string) []string { return fitLines(lines) }

// The bounds of an answer.
const (
	ChaosAtOnce   = chaosAtOnce
	ChaosLinesMax = chaosLinesMax
)

// HoldAsking takes all room for answers in the making, until the func is called.
func (n *Node) HoldAsking() func() {
	for range chaosAtOnce {
		n.asking <- struct{}{}
	}
	return func() {
		for range chaosAtOnce {
			<-n.asking
		}
	}
}

// Explained is what the API says of a question.
func (n *Node) Explained(q policy.Question) (*policy.Explanation, error) {
	return n.explain(context.Background(), q)
}

// CurrentLoad is what is served, for a test to hold on to as a worker of its world would.
func (n *Node) CurrentLoad() any { return n.currentLoad() }

// HoldStatus keeps the status from being made, until the func is called.
func (n *Node) HoldStatus() func() {
	n.mu.Lock()
	return n.mu.Unlock
}

// Access is who may use the API.
type Access = access

// NewAccess reads the files that are configured.
func NewAccess(cfg *Config) (*Access, bool, source.Findings) {
	var findings source.Findings
	a, ok := newAccess(cfg, cfg.logger(), nil, &findings)
	return a, ok, findings
}

// Token tells who has a static token.
func (a *access) Token(text string) (*api.Principal, bool) { return a.token(text) }

// Certificate tells who has a client certificate.
func (a *access) Certificate(chain []*x509.Certificate) (*api.Principal, bool) {
	return a.certificate(chain)
}

// Document tells of the credentials.
func (a *access) Document() api.Auth { return a.document() }

// HealthNotes are what explain notes of a checked target.
func HealthNotes(s *health.Status) []string { return healthNotes(s) }

// RunLeasesAlone runs what ends leases, as it is when everything else of a node has ended already, and then closes the node.
func (n *Node) RunLeasesAlone(ctx context.Context) error {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	err := errors.Join(n.publish(ended), n.expireLoop(ctx))
	return errors.Join(err, n.runWatch(ended), n.server.Close(), n.api.Close(), n.closeOperator())
}

// Leases are all leases.
func (n *Node) Leases() []operator.Lease { return n.book.List() }

// ReplaceAudit has another audit log written to, before Run.
func (n *Node) ReplaceAudit(log *operator.Log) error {
	before := n.audit
	n.audit = log
	return before.Close()
}

// PublishLeases has states by the leases of now served.
func (n *Node) PublishLeases() error { return n.publishLeases() }

// ChangedTokens are those of a list that another does not have, as the record has them.
func ChangedTokens(of, without []api.Token) []string { return changedTokens(of, without) }

// JoinNames lists names in so many bytes.
func JoinNames(names []string, most int) string { return joinNames(names, most) }

// ReopenBook reads the leases again, before Run, as when the audit log cannot be read behind their file.
func (n *Node) ReopenBook(replay func(uint64) ([]operator.Entry, error)) {
	n.openBook(operator.BookConfig{Path: n.cfg.stateFile("leases"), Record: n.audit.Append, Replay: replay, Log: n.log})
}

// Probes are the regions that a client may measure.
func (n *Node) Probes(client netip.Addr) []api.Probed { return n.probes(client) }

// OrderProbes puts regions in order.
func OrderProbes(regions []*policy.Region, p geo.Place, scores []rum.Score) []api.Probed {
	return orderProbes(regions, p, scores)
}

// Restored says that the table is the one kept in the state folder, and that nothing is compiled yet.
func (n *Node) Restored() bool { return n.currentLoad().rest != nil }
