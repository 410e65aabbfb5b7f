package main

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"geodns/pkg/api"
	"geodns/pkg/rum"
)

const (
	// rungsDefault is how many groups `rum show` shows: some screens, as each has a line for each region.
	rungsDefault = 50
	// rungsMax is what a server gives at most.
	rungsMax = 10_000
)

// newRUM builds `geodns rum` and what is below it.
func newRUM() *cobra.Command {
	cmd := group("rum", "Show what users measured, by groups of client networks")
	show := &cobra.Command{
		Use:   "show",
		Short: "Show how far regions are from groups of client networks, as users measured it",
		Long: `Show how far regions are from groups of client networks, as users measured it: by prefix, by AS in a country, by country, by
continent, those with the most samples first. Groups of fewer sources than rum.min_sources are not shown.`,
		Example: `  geodns rum show
  geodns rum show --kind country --region fra`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return showRUM(cmd) },
	}
	show.Flags().String("kind", "", "groups of this kind alone: prefix, asn, country or continent")
	show.Flags().String("region", "", "this region alone")
	show.Flags().IntP("number", "n", rungsDefault, "how many groups to show")
	addFile(show)
	addOutput(show)
	addAPI(show)
	cmd.AddCommand(show, newRUMPropose())
	return cmd
}

// newRUMPropose builds `geodns rum propose`.
func newRUMPropose() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "propose",
		Short: "Write the change to the maps that what users measured supports, as a diff for git",
		Long: `Write the change to the maps of a running server's policies that what users measured supports: regions that were measured change
places where the difference is more than --band. It is a diff that "git apply" takes, with a line of evidence above each change, and
nothing is changed by it: for those who want no live loop, and look before they commit.`,
		Example: `  geodns rum propose > latency.diff && git apply --check latency.diff`,
		Args:    arguments(0, 0, "no arguments"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return proposeRUM(cmd) },
	}
	cmd.Flags().Float64("percentile", 75, "of the measured times, 1 to 99")
	cmd.Flags().Duration("band", 15*time.Millisecond, "differences below it are none")
	cmd.Flags().Int("min-samples", 50, "that a region needs in a group")
	addFile(cmd)
	addOutput(cmd)
	addAPI(cmd)
	return cmd
}

// proposeRUM prints the diff; that there is none goes to standard error.
func proposeRUM(cmd *cobra.Command) error {
	percentile, _ := cmd.Flags().GetFloat64("percentile")
	band, _ := cmd.Flags().GetDuration("band")
	samples, _ := cmd.Flags().GetInt("min-samples")
	if percentile < 1 || percentile > 99 || band < 0 || band > 10*time.Second || samples < 1 || samples > 100_000 {
		return usagef("--percentile is from 1 to 99, --band from 0 to 10s, --min-samples from 1 to 100000")
	}
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	query := url.Values{
		"percentile": {strconv.FormatFloat(percentile, 'g', -1, 64)}, "band_seconds": {strconv.FormatFloat(band.Seconds(), 'g', -1, 64)},
		"min_samples": {strconv.Itoa(samples)},
	}
	var document api.RUMProposals
	if err := c.get(cmd.Context(), "/v1/rum/proposals?"+query.Encode(), &document); err != nil {
		return err
	}
	if wantsDocument(cmd) {
		return writeDocument(cmd, document)
	}
	fmt.Fprint(cmd.OutOrStdout(), document.Diff)
	if document.Proposals == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "geodns: the maps are as the measurements would have them, as far as there are enough")
	}
	return nil
}

// showRUM prints what users measured.
func showRUM(cmd *cobra.Command) error {
	query := url.Values{}
	for _, name := range []string{"kind", "region"} {
		if text, _ := cmd.Flags().GetString(name); text != "" {
			query.Set(name, text)
		}
	}
	kinds := []string{rum.RungPrefix.String(), rum.RungASN.String(), rum.RungCountry.String(), rum.RungContinent.String()}
	if kind := query.Get("kind"); kind != "" && !slices.Contains(kinds, kind) {
		return usagef("--kind: %q is none of prefix, asn, country and continent", kind)
	}
	n, _ := cmd.Flags().GetInt("number")
	if n < 1 || n > rungsMax {
		return usagef("--number: %d is out of range: from 1 to %d", n, rungsMax)
	}
	query.Set("n", strconv.Itoa(n))
	return list(cmd, "/v1/rum?"+query.Encode(), func(t *table, d *api.RUMReport) { addRungs(t, d) })
}

// addRungs adds the groups, a line for each region.
func addRungs(t *table, d *api.RUMReport) {
	if len(d.Rungs) == 0 {
		t.add("nothing is known: too little was measured, or none of what was asked for")
		return
	}
	t.title("NETWORKS", "SOURCES", "PREFIXES", "REGION", "SAMPLES", "ERRORS", "P50", "P75", "P95", "JITTER", "AGE", "HELD")
	for i := range d.Rungs {
		r := &d.Rungs[i]
		held := cell{dash(r.Held), plain}
		if r.Held != "" {
			held.hue = wary
		}
		for _, g := range r.Regions {
			t.add(r.Rung, r.Sources, r.Prefixes, g.Region, fmt.Sprintf("%.0f", g.Samples), fmt.Sprintf("%.1f %%", 100*g.Errors),
				milliseconds(g.P50), milliseconds(g.P75), milliseconds(g.P95), milliseconds(g.Jitter), lasting(time.Duration(g.Age*float64(time.Second))), held)
		}
	}
	if more := d.RungN - len(d.Rungs); more > 0 {
		t.add(fmt.Sprintf("and %d more", more))
	}
}

// milliseconds writes a latency as people compare it.
func milliseconds(seconds float64) string { return fmt.Sprintf("%.1f ms", 1000*seconds) }

// addUsers adds a line of measurements to a status, where anything is measured.
func addUsers(t *table, s *api.RUMStatus, now time.Time) {
	if s.Listen != "" || s.Accepted > 0 {
		t.add("users", rumLine(s, now))
	}
}

// rumLine tells of measurements in a line.
func rumLine(s *api.RUMStatus, now time.Time) string {
	refused, rungs := uint64(0), 0
	for n := range maps.Values(s.Refused) {
		refused += n
	}
	for n := range maps.Values(s.Rungs) {
		rungs += n
	}
	text := fmt.Sprintf("%d samples, %d refused; %s, counted %s ago", s.Accepted, refused, count(rungs, "group"), ago(now, s.At))
	if s.Held > 0 {
		text += fmt.Sprintf("; %d HELD", s.Held)
	}
	if len(s.Limited) > 0 {
		text += "; LIMITED by ecs.max_scopes: " + strings.Join(s.Limited, ", ")
	}
	return text
}
