package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"geodns/pkg/api"
)

// newReload builds `geodns reload`.
func newReload() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have a running server load its files again, and wait for the result",
		Long: `Have a running server load its zones, policies, geo databases and cookie secrets again, and wait for the result, which is the exit code:
0 when they are served, 1 when they are refused and what was served before is served on. A geo database or a file of cookie secrets
that is refused is 1 as well: the one before it stays, and zones and policies are served as they are now.`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return reload(cmd) },
	}
	addFile(cmd)
	addOutput(cmd)
	addAPI(cmd)
	return cmd
}

// reload begins a load and prints what came of it.
func reload(cmd *cobra.Command) error {
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	body, err := c.do(cmd.Context(), http.MethodPost, "/v1/reload", "application/json", reloadTimeout)
	if refused, ok := errors.AsType[*problem](err); ok && refused.Status == http.StatusUnprocessableEntity {
		if wantsDocument(cmd) {
			if writeErr := writeDocument(cmd, refused); writeErr != nil {
				return writeErr
			}
		} else {
			for _, e := range refused.Errors {
				fmt.Fprintf(out, "%s: %s\n", e.Location, e.Message)
			}
		}
		return err
	}
	if err != nil {
		return err
	}
	var load api.Load
	if err := json.Unmarshal(body, &load); err != nil {
		return fmt.Errorf("reading the server's answer: %w", err)
	}
	if err := writeLoad(cmd, &load); err != nil {
		return err
	}
	if load.Errors > 0 { // zones and policies are served, or the server had refused the load
		return fmt.Errorf("a geo database or the cookie secrets were refused, and what was in their place stays: %s", count(load.Errors, "error"))
	}
	return nil
}

// writeLoad prints a load that is served.
func writeLoad(cmd *cobra.Command, load *api.Load) error {
	out := cmd.OutOrStdout()
	if wantsDocument(cmd) {
		return writeDocument(cmd, load)
	}
	for _, f := range load.Findings {
		fmt.Fprintf(out, "%s:%d:%d: %s: %s\n", f.File, f.Line, f.Col, f.Severity, f.Message)
	}
	fmt.Fprintf(out, "%s in %.3f s, serving %s\n", load.Result, load.Seconds, load.World)
	return nil
}
