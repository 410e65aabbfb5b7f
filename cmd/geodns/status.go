package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"geodns/pkg/api"
)

// newStatus builds `geodns status`.
func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what a running server serves, and the state of its targets",
		Args:  arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			var document statusDocument
			if err := c.get(cmd.Context(), "/v1/status", &document.Status); err != nil {
				return err
			}
			if err := c.get(cmd.Context(), "/v1/targets", &document); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return writeJSON(cmd.OutOrStdout(), document)
			}
			return document.write(cmd.OutOrStdout(), time.Now())
		},
	}
	addFile(cmd)
	addOutput(cmd)
	addAPI(cmd)
	return cmd
}

// statusDocument is the API's two documents in one.
type statusDocument struct {
	Status  api.Status   `json:"status"`
	Targets []api.Target `json:"targets"`
}

// write prints it for people: what the node is, what it serves, then a line for each address of each target.
func (d *statusDocument) write(w io.Writer, now time.Time) error {
	s := &d.Status
	ready := "ready"
	if !s.Ready {
		ready = "NOT READY: " + s.NotReady
	}
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(table, "node\t%s, %s, up %s, %s\n", s.Node, s.Version, ago(now, s.Started), ready)
	fmt.Fprintf(table, "listen\t%s\n", strings.Join(s.Listen, " "))
	fmt.Fprintf(table, "world\t%s since %s\n", s.World.ID, stamp(s.World.Since))
	fmt.Fprintf(table, "serving\t%s, %s, %s, %s, %s\n", count(s.World.ZoneN, "zone"), count(s.World.Records, "record"),
		policies(s.World.Policies), count(s.World.Targets, "target"), count(s.World.Cells, "cell"))
	fmt.Fprintf(table, "last load\t%s\n", loadLine(&s.LastLoad))
	for _, db := range s.Geo {
		fmt.Fprintf(table, "geo\t%s\n", databaseLine(&db))
	}
	fmt.Fprintf(table, "checker\t%s\n", checkerLine(&s.Checker))
	fmt.Fprintf(table, "cookies\t%s\n", cookiesLine(&s.Cookies))
	for _, line := range authLines(&s.Auth) {
		fmt.Fprintln(table, line)
	}
	if len(d.Targets) > 0 {
		fmt.Fprintln(table, "\nTARGET\tSTATE\tADDRESS\tSINCE\tPROBED\tWHAT THE LAST PROBE SAW")
	}
	for i := range d.Targets {
		writeTarget(table, &d.Targets[i], now)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	return nil
}

// writeTarget prints a target, a line for each address that is probed.
func writeTarget(w io.Writer, t *api.Target, now time.Time) {
	if len(t.Addresses) == 0 {
		fmt.Fprintf(w, "%s\t%s\t-\t-\t-\tno check\n", t.ID, t.State)
	}
	for _, a := range t.Addresses {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, targetState(t), a.Address, ago(now, t.Since), ago(now, a.LastProbe), probeText(&a))
	}
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

// authLines say who may use the API.
func authLines(a *api.Auth) []string {
	if a.Open {
		return []string{"tokens\tnone; whoever reaches the API's address may use it"}
	}
	var lines []string
	if a.File != "" {
		line := fmt.Sprintf("tokens\t%d of %s", a.Tokens, a.File)
		if a.Expired > 0 {
			line += fmt.Sprintf(", %d expired", a.Expired)
		}
		lines = append(lines, line+refusedFile(a.Refused))
	}
	if r := a.Roles; r != nil {
		line := fmt.Sprintf("roles\t%d of %s, for %s and %s", r.Roles, r.File, count(r.Certificates, "certificate"), count(r.Claims, "claim"))
		lines = append(lines, line+refusedFile(r.Refused))
	}
	if t := a.TLS; t != nil {
		line := fmt.Sprintf("tls\t%s until %s", t.Certificate, stamp(t.Ends))
		if t.ClientCA != "" {
			line += fmt.Sprintf(", clients by %s until %s", t.ClientCA, stamp(t.CAEnds))
		}
		lines = append(lines, line+refusedFile(t.Refused))
	}
	if o := a.OIDC; o != nil {
		line := fmt.Sprintf("oidc\t%s for %s, %s fetched at %s", o.Issuer, o.Audience, count(o.Keys, "key"), stamp(o.Fetched))
		if o.Error != "" {
			line += "; THE ISSUER DOES NOT ANSWER: " + o.Error
		}
		lines = append(lines, line)
	}
	return lines
}

// refusedFile says why a file is not what is in use, "" if it is.
func refusedFile(why string) string {
	if why == "" {
		return ""
	}
	return "; THE FILE IS REFUSED: " + why
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
	return max(now.Sub(t), 0).Round(time.Second).String()
}
