package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"geodns/pkg/api"
)

// Limits of `checks`.
const (
	// historyDefault is how many probes `checks history` shows: a screen.
	historyDefault = 50
	// historyMax bounds it, above all that a server keeps of a target.
	historyMax = 100_000
	// tuneMax bounds the combinations that `checks tune` asks for: the server replays its whole history for each.
	tuneMax = 64
)

// newChecks builds `geodns checks` and what is below it.
func newChecks() *cobra.Command {
	cmd := group("checks", "Show a running server's checks, what their probes saw, and what other thresholds would have made of it")
	list := &cobra.Command{
		Use:   "list",
		Short: "List the checks, with what they leave to defaults",
		Args:  arguments(0, 0, "no arguments"),
		RunE:  func(cmd *cobra.Command, _ []string) error { return listChecks(cmd) },
	}
	history := &cobra.Command{
		Use:   "history POOL/TARGET",
		Short: "Show the last probes of a target",
		Args:  arguments(1, 1, "a target, as pool/target"),
		RunE:  func(cmd *cobra.Command, args []string) error { return showHistory(cmd, args[0]) },
	}
	history.ValidArgsFunction = completeTarget
	history.Flags().IntP("number", "n", historyDefault, "how many probes to show, the last")
	tune := &cobra.Command{
		Use:   "tune CHECK",
		Short: "Replay the probes that are kept through other thresholds: how many failovers, how many false, how late",
		Long: `Replay the probes that a running server keeps through other thresholds, each of --fall with each of --rise: how many failovers
there would have been, how many of them false (probes were good again within --outage of the first failed one), how many outages
missed, and how long it took from the first failed probe to the verdict. The setting in use is marked with *. Nothing is changed.`,
		Example: `  geodns checks tune web
  geodns checks tune web --fall 2,3,4 --rise 3 --dwell 30s`,
		Args: arguments(1, 1, "the name of a check"),
		RunE: func(cmd *cobra.Command, args []string) error { return tuneCheck(cmd, args[0]) },
	}
	tune.ValidArgsFunction = completeCheck
	tune.Flags().IntSlice("fall", []int{1, 2, 3, 5}, "failed probes in a row that make a target down")
	tune.Flags().IntSlice("rise", []int{2, 4}, "good probes in a row that make it up again")
	tune.Flags().Duration("dwell", 0, "how long a target that is down stays so at least (as the check has it)")
	tune.Flags().Bool("no-damping", false, "as if targets that flap were not held down")
	tune.Flags().Duration("outage", 0, "a failover is false if probes were good again sooner than this; 0s is 30s")
	for _, c := range []*cobra.Command{list, history, tune} {
		addFile(c)
		addOutput(c)
		addAPI(c)
		cmd.AddCommand(c)
	}
	return cmd
}

// checksDocument is what GET /v1/checks answers.
type checksDocument struct {
	Checks []api.Check `json:"checks"`
}

// listChecks prints the checks.
func listChecks(cmd *cobra.Command) error {
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	var document checksDocument
	if err := c.get(cmd.Context(), "/v1/checks", &document); err != nil {
		return err
	}
	if wantsDocument(cmd) {
		return writeDocument(cmd, document)
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "CHECK\tPROBES\tINTERVAL\tTIMEOUT\tRECHECK\tFALL\tRISE\tDWELL\tWARM-UP\tDAMPING\tVOTES\tTARGETS\tADDRESSES")
	for i := range document.Checks {
		k := &document.Checks[i]
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%d\t%d\n", k.Name, probes(k),
			span(k.Interval), span(k.Timeout), span(k.Recheck), k.Fall, k.Rise, span(k.Dwell), span(k.WarmUp), onOff(k.Damping.On), votes(k.VotesNeed),
			k.Targets, k.Addresses)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("writing the checks: %w", err)
	}
	return nil
}

// probes says in a few words what a check asks.
func probes(k *api.Check) string {
	return strings.TrimSpace(fmt.Sprintf("%s :%d %s", k.Kind, k.Port, strings.TrimSpace(k.Query+k.Path)))
}

// onOff is a switch in a word.
func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// votes says how many votes call a target down.
func votes(need int) string {
	if need == 0 {
		return "most"
	}
	return strconv.Itoa(need)
}

// span gives seconds as people and files write them; nothing is "-".
func span(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return time.Duration(seconds * float64(time.Second)).Round(100 * time.Microsecond).String()
}

// took gives how long a detection took.
func took(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Millisecond).String()
}

// showHistory prints the probes of a target.
func showHistory(cmd *cobra.Command, id string) error {
	pool, target, ok := strings.Cut(id, "/")
	if !ok || pool == "" || target == "" {
		return usagef("%q is not a target such as web/fra1", id)
	}
	n, err := cmd.Flags().GetInt("number")
	if err != nil {
		return err
	}
	if n < 1 || n > historyMax {
		return usagef("-n: %d is out of range: from 1 to %d", n, historyMax)
	}
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	var document api.History
	path := "/v1/targets/" + url.PathEscape(pool) + "/" + url.PathEscape(target) + "/history"
	if err := c.get(cmd.Context(), path, &document); err != nil {
		return err
	}
	document.Probes = document.Probes[max(0, len(document.Probes)-n):]
	if wantsDocument(cmd) {
		return writeDocument(cmd, document)
	}
	return writeHistory(cmd.OutOrStdout(), &document)
}

// writeHistory prints probes, a line each, the last at the bottom.
func writeHistory(w io.Writer, h *api.History) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "ENDED\tADDRESS\tRESULT\tLATENCY\tWHAT THE PROBE SAW")
	for i := range h.Probes {
		p := &h.Probes[i]
		result := "good"
		if !p.OK {
			result = "FAILED"
		}
		if p.Recheck {
			result += ", recheck"
		}
		if p.Void {
			result += ", void"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", p.At.UTC().Format("2006-01-02T15:04:05.000Z"), p.Address, result, span(p.Latency), p.Reason)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("writing the probes: %w", err)
	}
	return nil
}

// tuneDocument is what `checks tune -o json` prints.
type tuneDocument struct {
	Check   string     `json:"check"`
	Current api.Tune   `json:"current"`
	Tried   []api.Tune `json:"tried"`
}

// tuneCheck asks for each combination of thresholds and prints a table.
func tuneCheck(cmd *cobra.Command, check string) error {
	falls, err := thresholds(cmd, "fall")
	if err != nil {
		return err
	}
	rises, err := thresholds(cmd, "rise")
	if err != nil {
		return err
	}
	if n := len(falls) * len(rises); n > tuneMax {
		return usagef("--fall and --rise make %d combinations; at most %d are tried", n, tuneMax)
	}
	query, err := tuneQuery(cmd)
	if err != nil {
		return err
	}
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	document := tuneDocument{Check: check}
	path := "/v1/checks/" + url.PathEscape(check) + "/tune?"
	if err = c.get(cmd.Context(), path+url.Values{"outage": query["outage"]}.Encode(), &document.Current); err != nil {
		return err
	}
	if document.Tried, err = tryAll(cmd.Context(), c, path, query, falls, rises); err != nil {
		return err
	}
	if wantsDocument(cmd) {
		return writeDocument(cmd, document)
	}
	return document.write(cmd.OutOrStdout())
}

// tuneQuery reads the flags that hold for each combination.
func tuneQuery(cmd *cobra.Command) (url.Values, error) {
	query := url.Values{}
	for _, name := range []string{"dwell", "outage"} {
		d, err := cmd.Flags().GetDuration(name)
		if err != nil {
			return nil, err
		}
		if d < 0 {
			return nil, usagef("--%s: %s is negative", name, d)
		}
		if cmd.Flags().Changed(name) {
			query.Set(name, d.String())
		}
	}
	if cmd.Flag("no-damping").Value.String() == "true" {
		query.Set("damping", "off")
	}
	return query, nil
}

// thresholds reads a flag with a list of counts.
func thresholds(cmd *cobra.Command, flag string) ([]int, error) {
	counts, err := cmd.Flags().GetIntSlice(flag)
	if err != nil {
		return nil, err
	}
	for _, n := range counts {
		if n < 1 {
			return nil, usagef("--%s: %d is no count of probes", flag, n)
		}
	}
	if len(counts) == 0 {
		return nil, usagef("--%s: at least one count of probes is wanted", flag)
	}
	slices.Sort(counts)
	return slices.Compact(counts), nil
}

// tryAll asks for each combination.
func tryAll(ctx context.Context, c *client, path string, query url.Values, falls, rises []int) ([]api.Tune, error) {
	var tried []api.Tune
	for _, fall := range falls {
		for _, rise := range rises {
			query.Set("fall", strconv.Itoa(fall))
			query.Set("rise", strconv.Itoa(rise))
			var t api.Tune
			if err := c.get(ctx, path+query.Encode(), &t); err != nil {
				return nil, err
			}
			// A server may raise a count to the least that it can do with: then this is the one before.
			if n := len(tried); n == 0 || tried[n-1].Fall != t.Fall || tried[n-1].Rise != t.Rise {
				tried = append(tried, t)
			}
		}
	}
	return tried, nil
}

// write prints what was tried, a line each, the setting in use marked; where it was not among them it comes first.
func (d *tuneDocument) write(w io.Writer) error {
	rows := d.Tried
	if !slices.ContainsFunc(rows, d.inUse) {
		rows = append([]api.Tune{d.Current}, rows...)
	}
	now := &d.Current
	if now.Probes == 0 {
		fmt.Fprintf(w, "check %s: no probes are kept yet\n", d.Check)
		return nil
	}
	fmt.Fprintf(w, "check %s: %s of %s from %s to %s; a failover is false if probes were good again within %s\n\n",
		d.Check, count(now.Probes, "probe"), count(now.Targets, "target"), stamp(now.From), stamp(now.To), span(now.Outage))
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "\tFALL\tRISE\tDWELL\tDAMPING\tFAILOVERS\tFALSE\tMISSED\tDETECTED P50\tP99\tMAX")
	for i := range rows {
		t := &rows[i]
		mark := ""
		if d.inUse(*t) {
			mark = "*"
		}
		detect := "-\t-\t-"
		if t.Detect != nil {
			detect = took(t.Detect.P50) + "\t" + took(t.Detect.P99) + "\t" + took(t.Detect.Max)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%d\t%d\t%d\t%s\n", mark, t.Fall, t.Rise, span(t.Dwell), onOff(t.Damped), t.Failovers, t.False, t.Missed, detect)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

// inUse says whether thresholds are those that the check has now.
func (d *tuneDocument) inUse(t api.Tune) bool {
	return t.Fall == d.Current.Fall && t.Rise == d.Current.Rise && t.Dwell == d.Current.Dwell && t.Damped == d.Current.Damped
}
