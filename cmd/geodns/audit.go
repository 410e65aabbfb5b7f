package main

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"geodns/pkg/api"
	"geodns/pkg/operator"
)

// Limits of `audit show`.
const (
	// auditDefault is how many entries are shown: a screen or two.
	auditDefault = 50
	// auditMax is what a server gives at once; --after goes on from there.
	auditMax = 1000
)

// entryKinds are the kinds of entries of the audit log.
func entryKinds() []string {
	return []string{
		operator.EntryStart, operator.EntryStop, operator.EntryLeasePut, operator.EntryLeaseEnd, operator.EntryLeaseOver,
		operator.EntryLoad, operator.EntryVerdict, operator.EntryTokens, operator.EntryRoles, operator.EntryCheckpoint, operator.EntryLog,
	}
}

// newAudit builds `geodns audit` and what is below it.
func newAudit() *cobra.Command {
	cmd := group("audit", "Show and verify the audit log")
	cmd.AddCommand(newAuditShow(), newAuditVerify())
	return cmd
}

// newAuditShow builds `geodns audit show`.
func newAuditShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the last entries of a running server's audit log",
		Example: `  geodns audit show --kind lease.put
  geodns audit show --after 1200 -o json`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return showAudit(cmd) },
	}
	addFile(cmd)
	addOutput(cmd)
	addAPI(cmd)
	cmd.Flags().IntP("number", "n", auditDefault, "how many entries to show, the last; with --after the first")
	cmd.Flags().Uint64("after", 0, "those after the entry with this number")
	cmd.Flags().String("kind", "", "those of this kind alone: "+strings.Join(entryKinds(), ", "))
	complete(cmd, "kind", entryKinds()...)
	return cmd
}

// auditDocument is what GET /v1/audit answers.
type auditDocument struct{ api.AuditLog }

// showAudit prints entries.
func showAudit(cmd *cobra.Command) error {
	query, err := auditQuery(cmd)
	if err != nil {
		return err
	}
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	var document auditDocument
	if err := c.get(cmd.Context(), "/v1/audit?"+query.Encode(), &document); err != nil {
		return err
	}
	return show(cmd, document, func(p *page) error {
		p.width = 0 // a line that is cut would hide why
		return document.write(p)
	})
}

// auditQuery reads the flags.
func auditQuery(cmd *cobra.Command) (url.Values, error) {
	n, err := cmd.Flags().GetInt("number")
	if err != nil {
		return nil, err
	}
	if n < 1 || n > auditMax {
		return nil, usagef("-n: %d is out of range: from 1 to %d", n, auditMax)
	}
	query := url.Values{"last": {strconv.Itoa(n)}}
	if cmd.Flags().Changed("after") {
		query.Set("after", cmd.Flag("after").Value.String())
	}
	if kind := cmd.Flag("kind").Value.String(); kind != "" {
		if !slices.Contains(entryKinds(), kind) {
			return nil, usagef("--kind: there is no kind %q; there are %s", kind, strings.Join(entryKinds(), ", "))
		}
		query.Set("kind", kind)
	}
	return query, nil
}

// write prints entries, a row each, the last at the bottom.
func (d *auditDocument) write(p *page) error {
	var t table
	t.title("SEQ", "TIME", "KIND", "WHO", "OBJECT", "WHAT AND WHY")
	for i := range d.Entries {
		e := &d.Entries[i]
		t.add(e.Seq, stamp(e.Time), e.Kind, e.Who, dash(e.Object), entryText(e))
	}
	if err := p.write(t); err != nil {
		return err
	}
	for _, wrong := range []struct{ what, text string }{{"the log is broken", d.Status.Broken}, {"entries cannot be written", d.Status.Failed}} {
		if wrong.text != "" {
			p.line("%s: %s", wrong.what, wrong.text)
		}
	}
	return nil
}

// entryText says what an entry changed and why. What is small is shown as it is; a lease is what the reason is for.
func entryText(e *api.AuditEntry) string {
	var parts []string
	before, after := brief(e.Before), brief(e.After)
	switch {
	case e.Kind == operator.EntryLeasePut:
		parts = append(parts, after+until(e.After))
	case before == after || after == "":
		parts = append(parts, before)
	case before == "":
		parts = append(parts, after)
	default:
		parts = append(parts, before+" -> "+after)
	}
	parts = append(parts, e.Why)
	if e.Ticket != "" {
		parts = append(parts, "("+e.Ticket+")")
	}
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
	return dash(strings.Join(parts, " "))
}

// brief is a state before or after a change, in a word or a few: that of a verdict, a world, what a lease does.
func brief(state any) string {
	document, ok := state.(map[string]any)
	if !ok {
		return ""
	}
	if does, ok := document["action"]; ok {
		lease := api.Lease{Action: fmt.Sprint(does)}
		lease.State, _ = document["state"].(string)
		if admit, ok := document["admit"].(float64); ok {
			lease.Admit = &admit
		}
		return action(&lease)
	}
	for _, key := range []string{"state", "world", "tokens"} {
		if value, ok := document[key]; ok && value != "" {
			return fmt.Sprint(value)
		}
	}
	return ""
}

// until says when a lease that was made or changed ends, and whether guards were overridden for it.
func until(lease any) (text string) {
	document, ok := lease.(map[string]any)
	if !ok {
		return ""
	}
	if expires, ok := document["expires"].(string); ok {
		text = " until " + expires
	}
	if overridden, ok := document["override"].([]any); ok && len(overridden) > 0 {
		text += ", overriding guards,"
	}
	return text
}

// auditLine gives the audit log in a line.
func auditLine(a *api.AuditStatus) string {
	line := fmt.Sprintf("entry %d", a.Seq)
	if a.CheckpointSeq > 0 {
		line += fmt.Sprintf(", signed up to %d at %s", a.CheckpointSeq, stamp(a.CheckpointAt))
	}
	if a.Broken != "" {
		line += "; BROKEN: " + strings.ReplaceAll(a.Broken, "\n", "; ")
	}
	if a.Failed != "" {
		line += "; CANNOT BE WRITTEN: " + a.Failed
	}
	return line
}
