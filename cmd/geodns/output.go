package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"geodns/internal/source"
)

// The forms of output.
const (
	outputText = "text"
	outputJSON = "json"
)

// addOutput adds -o and checks it before the command runs.
func addOutput(cmd *cobra.Command) {
	cmd.Flags().StringP("output", "o", outputText, "text, or json for programs")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if form := cmd.Flag("output").Value.String(); form != outputText && form != outputJSON {
			return usagef("--output is text or json, not %q", form)
		}
		return nil
	}
}

// wantsJSON says which form was asked for.
func wantsJSON(cmd *cobra.Command) bool { return cmd.Flag("output").Value.String() == outputJSON }

// writeJSON writes a document for programs.
func writeJSON(w io.Writer, document any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// writeFindings writes findings in their line form, as editors read them.
func writeFindings(w io.Writer, findings source.Findings) {
	findings.Sort()
	for _, f := range findings {
		fmt.Fprintln(w, f)
	}
}

// count says how many of a thing there are.
func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
