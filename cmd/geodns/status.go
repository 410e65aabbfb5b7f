package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"geodns/pkg/api"
)

// newStatus builds `geodns status`.
func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show on a screen what a running server serves, and what is not well",
		Long: `Show on a screen what a running server serves, from which versions of which files, where its answers go, which targets are not
well, which leases are held, and what happened last. Lists are cut to what fits the terminal, elsewhere to 24 lines; --full
shows all of them, with the geo databases, cookies and tokens. "geodns list targets" shows every target.`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			var document statusDocument
			if err = c.get(cmd.Context(), "/v1/status", &document.Status); err != nil {
				return err
			}
			err = c.get(cmd.Context(), "/v1/targets", &document)
			if lacking, ok := errors.AsType[*problem](err); ok && lacking.Status == http.StatusForbidden {
				document.unseen = lacking.Detail // the rest is worth a look by itself
			} else if err != nil {
				return err
			}
			full := isSet(cmd, "full")
			return show(cmd, document, func(p *page) error { return document.write(p, time.Now(), full) })
		},
	}
	addFile(cmd)
	addOutput(cmd)
	addAPI(cmd)
	cmd.Flags().Bool("full", false, "cut nothing")
	return cmd
}

// statusDocument is the API's two documents in one.
type statusDocument struct {
	Status  api.Status   `json:"status"`
	Targets []api.Target `json:"targets"`

	unseen string // why the targets are not shown; "": they are
}

// write prints it for people: what the node is and serves, then a list of each thing, the most urgent first.
func (d *statusDocument) write(p *page, now time.Time, full bool) error {
	head, sections := d.head(now, full), d.sections(now)
	if full {
		p.width = 0
	} else {
		fit(sections, p.height-len(head)-1) // the shell's prompt needs a line
	}
	if err := p.write(head); err != nil {
		return err
	}
	for i := range sections {
		if err := p.write(sections[i].table()); err != nil {
			return err
		}
	}
	return nil
}

// head is what there is one of.
func (d *statusDocument) head(now time.Time, full bool) table {
	var t table
	s := &d.Status
	ready := ", ready"
	node := cell{fmt.Sprintf("%s, %s, up %s", s.Node, s.Version, ago(now, s.Started)), plain}
	if !s.Ready {
		ready, node.hue = ", NOT READY: "+s.NotReady, bad
	}
	node.text += ready
	t.add("node", node)
	if full {
		t.add("listen", strings.Join(s.Listen, " "))
	}
	t.add("world", s.World.ID+" since "+stamp(s.World.Since))
	t.add("table", s.World.Table)
	t.add("serving", fmt.Sprintf("%s, %s, %s, %s, %s", count(s.World.ZoneN, "zone"), count(s.World.Records, "record"),
		policies(s.World.Policies), count(s.World.Targets, "target"), count(s.World.Cells, "cell")))
	t.add("last load", flag(loadLine(&s.LastLoad), s.LastLoad.Errors > 0))
	if d.unseen != "" {
		t.add("targets", "not shown: "+d.unseen)
	}
	targets := d.targetsLine()
	if c := &s.Checker; full || c.InDoubt != "" || c.Waiting+c.Suppressed+c.CanariesFailed > 0 || len(d.Targets) == 0 {
		if len(d.Targets) > 0 {
			t.add("targets", targets)
		}
		t.add("checker", flag(checkerLine(&s.Checker), s.Checker.InDoubt != ""))
	} else { // nothing is the matter with it, and lines are few
		targets.text += "; " + checkerLine(&s.Checker)
		t.add("targets", targets)
	}
	addUsers(&t, &s.RUM, now)
	if len(s.Leases) == 0 {
		t.add("leases", "none")
	}
	// The rest is told at length, or where something is wrong.
	if wrong := s.Audit.Broken+s.Audit.Failed != ""; wrong || full && s.Audit.Seq > 0 {
		t.add("audit", flag(auditLine(&s.Audit), wrong))
	}
	if full && s.Audit.Key != "" {
		t.add("audit key", s.Audit.Key)
	}
	for _, db := range s.Geo {
		if full || db.Refused != "" {
			t.add("geo", flag(databaseLine(&db), db.Refused != ""))
		}
	}
	if full || s.Cookies.Refused != "" {
		t.add("cookies", flag(cookiesLine(&s.Cookies), s.Cookies.Refused != ""))
	}
	for _, l := range authLines(&s.Auth) {
		if full || l.wrong {
			t.add(l.what, flag(l.text, l.wrong))
		}
	}
	return t
}

// flag is a text that is red where something is wrong.
func flag(text string, wrong bool) cell {
	if wrong {
		return cell{text, bad}
	}
	return cell{text, plain}
}

// targetsLine counts the targets by state.
func (d *statusDocument) targetsLine() cell {
	states := map[string]int{}
	doubts, drained := 0, 0
	for i := range d.Targets {
		t := &d.Targets[i]
		states[t.State]++
		if t.InDoubt {
			doubts++
		}
		if t.Drained {
			drained++
		}
	}
	var parts []string
	for _, state := range []string{"up", "degraded", "down", "unknown"} {
		if n := states[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	c := cell{strings.Join(parts, ", "), good}
	if states["up"] < len(d.Targets) || doubts+drained > 0 {
		c.hue = wary
	}
	if states["down"] > 0 {
		c.hue = bad
	}
	if doubts > 0 {
		c.text += fmt.Sprintf("; %d in doubt", doubts)
	}
	if drained > 0 {
		c.text += fmt.Sprintf("; %d drained", drained)
	}
	return c
}

// targetState gives a target's state, and what else answers and people go by: why it is in doubt, what holds it down, admit.
func targetState(t *api.Target) string {
	var notes []string
	if t.Doubt != "none" && t.Doubt != "" {
		notes = append(notes, t.Doubt)
	}
	if t.Hold != "" {
		ends := time.Duration(t.HoldEnds * float64(time.Second))
		notes = append(notes, fmt.Sprintf("%s for %s", t.Hold, max(ends.Round(time.Second), time.Second)))
	}
	if t.Admit < 1 {
		notes = append(notes, fmt.Sprintf("admits %.0f %%", 100*t.Admit))
	}
	if len(notes) == 0 {
		return t.State
	}
	return t.State + " (" + strings.Join(notes, ", ") + ")"
}

// probeText gives what the last probe of an address saw.
func probeText(a *api.Address) string {
	if a.Warning != "" {
		return a.Reason + "; " + a.Warning
	}
	return a.Reason
}

// loadLine gives a load in a line.
func loadLine(l *api.Load) string {
	if l.Result == api.LoadNone {
		return "none"
	}
	return fmt.Sprintf("%s at %s in %.3f s, %s, %s", l.Result, stamp(l.At), l.Seconds, count(l.Errors, "error"), count(l.Warnings, "warning"))
}

// checkerLine gives in a line what probes the targets.
func checkerLine(c *api.Checker) string {
	line := fmt.Sprintf("%d probed, ", c.Addresses)
	switch canaries := c.CanariesGood + c.CanariesFailed; {
	case c.InDoubt != "":
		line += "FAILED PROBES ARE NOT BELIEVED, this node may be cut off"
	case canaries == 0:
		line += "no canaries"
	default:
		line += fmt.Sprintf("%d of %d canaries good", c.CanariesGood, canaries)
	}
	switch c.InDoubt {
	case "canaries":
		line += fmt.Sprintf(": %d of %d canaries fail", c.CanariesFailed, c.CanariesGood+c.CanariesFailed)
	case "mass":
		line += ": too many targets began to fail at once"
	}
	if c.Waiting > 0 {
		line += fmt.Sprintf(", %d LATE", c.Waiting)
	}
	if c.Suppressed > 0 {
		line += ", held down for flapping: " + count(c.Suppressed, "target")
	}
	if c.Votes > 0 {
		line += ", " + count(c.Votes, "vote") + " from elsewhere"
	}
	return line
}

// databaseLine gives a geo database in a line.
func databaseLine(db *api.Database) string {
	line := strings.TrimSpace(db.Path + " " + db.Type)
	if !db.Built.IsZero() {
		line += ", built " + stamp(db.Built)
	}
	line += ", " + count(db.Networks, "network") + ", " + db.State
	if db.Refused != "" {
		line += ": " + db.Refused
	}
	return line
}

// cookiesLine gives the cookies' secrets in a line, by what they can be told apart.
func cookiesLine(c *api.Cookies) string {
	var line string
	switch c.From {
	case api.CookiesFile:
		line = "secrets of " + c.File
	case api.CookiesState:
		line = "the node's own secret"
	case api.CookiesMemory:
		line = "the node's own secret, not kept over a restart"
	default:
		return c.From
	}
	if len(c.Secrets) > 0 {
		line += ", " + c.Secrets[0] + " makes them"
	}
	if len(c.Secrets) > 1 {
		line += ", " + strings.Join(c.Secrets[1:], ", ") + " is accepted"
	}
	line += " since " + stamp(c.Since)
	if c.Require {
		line += ", required"
	}
	if c.Refused != "" {
		line += "; THE FILE IS REFUSED: " + c.Refused
	}
	return line
}

// authLine is what there is to say of one kind of credentials.
type authLine struct {
	what, text string
	wrong      bool
}

// authLines say who may use the API.
func authLines(a *api.Auth) []authLine {
	if a.Open {
		return []authLine{{"tokens", "none; whoever reaches the API's address may use it", false}}
	}
	var lines []authLine
	add := func(what, text, refused string) {
		if refused != "" {
			text += "; THE FILE IS REFUSED: " + refused
		}
		lines = append(lines, authLine{what, text, refused != ""})
	}
	if a.File != "" {
		text := fmt.Sprintf("%d of %s", a.Tokens, a.File)
		if a.Expired > 0 {
			text += fmt.Sprintf(", %d expired", a.Expired)
		}
		add("tokens", text, a.Refused)
	}
	if r := a.Roles; r != nil {
		add("roles", fmt.Sprintf("%d of %s, for %s and %s", r.Roles, r.File, count(r.Certificates, "certificate"), count(r.Claims, "claim")), r.Refused)
	}
	if t := a.TLS; t != nil {
		text := fmt.Sprintf("%s until %s", t.Certificate, stamp(t.Ends))
		if t.ClientCA != "" {
			text += fmt.Sprintf(", clients by %s until %s", t.ClientCA, stamp(t.CAEnds))
		}
		add("tls", text, t.Refused)
	}
	if o := a.OIDC; o != nil {
		text := fmt.Sprintf("%s for %s, %s fetched at %s", o.Issuer, o.Audience, count(o.Keys, "key"), stamp(o.Fetched))
		if o.Error != "" {
			text += "; THE ISSUER DOES NOT ANSWER: " + o.Error
		}
		lines = append(lines, authLine{"oidc", text, o.Error != ""})
	}
	return lines
}

// policies counts policies; their plural is not count's.
func policies(n int) string {
	if n == 1 {
		return "1 policy"
	}
	return fmt.Sprintf("%d policies", n)
}

// stamp gives a time in UTC, to the second.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// ago gives how long ago a time is.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return lasting(max(now.Sub(t), 0))
}

// age is how old something is; what is not known has none.
func age(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return ago(now, t)
}

// lasting gives how long something lasts, in its two largest units.
func lasting(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return d.Round(time.Second).String()
}
